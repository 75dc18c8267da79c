/** Each source against a few rows in its published form, written by test/reference/make_sources.py; which image is preferred is LightRFT's rule. */
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pack } from "tar-stream";
import { describe, expect, it } from "vitest";
import { keyOf } from "../../src/dataset/key-of.js";
import { type LoadDatasetOptions, loadDataset } from "../../src/dataset/load-dataset.js";
import { parseSources } from "../../src/dataset/parse-source.js";
import { checkPairMapping, type PairMapping, readPairMapping } from "../../src/dataset/sources/mapped-pairs.js";
import type { RowProblem } from "../../src/files/dataset-error.js";
import { collect, temporaryFolder } from "./hpdv3-folder.js";

const SOURCES = resolve("test/fixtures/sources");

async function read(source: string, options: LoadDatasetOptions = {}) {
	const [name, path] = source.split(":");
	const bad: RowProblem[] = [];
	const imageCache = options.imageCache ?? (await temporaryFolder());
	const records = loadDataset(`${name}:${resolve(SOURCES, path)}`, {
		...{ order: "stored", imageCache, onBadRow: (problem) => bad.push(problem) },
		...options,
	});
	return { records: await collect(records), counts: records.counts, bad };
}

async function rowsIn(source: string, rows: object[], options: LoadDatasetOptions = {}) {
	const file = join(await temporaryFolder(), "rows.json");
	await writeFile(file, JSON.stringify(rows));
	return read(`${source}:${file}`, options);
}

const shades = (images: readonly string[]) => images.map((image) => Number(basename(image, ".png")));

describe("hpdv3", () => {
	it("reads train.json and test.json: path1 is preferred", async () => {
		const [train, test] = [await read("hpdv3:hpdv3/train.json"), await read("hpdv3:hpdv3/test.json")];
		expect(train.records).toMatchObject([
			{ prompt: "a grey square", preferred: 0, choiceDist: [9, 1], confidence: 0.93, model1: "flux", model2: "sd2" },
			{ prompt: "ein Quadrat – „grau“", preferred: 0, model1: "real_images" },
		]);
		expect(test.records).toMatchObject([{ preferred: 0, model2: "infinity" }]);
		expect(test.records[0]).not.toHaveProperty("choiceDist");
		expect([...train.records, ...test.records].map(({ images }) => shades(images))).toEqual([
			[10, 20],
			[30, 10],
			[10, 30],
		]);
	});
});

describe("imagegen-cot-reward-5k", () => {
	it("takes the caption from the question and the preference from the answer", async () => {
		const { records } = await read("imagegen-cot-reward-5k:imagegen-cot-reward-5k/train_data.json");
		expect(records.map(({ prompt, preferred, images }) => [prompt, preferred, ...shades(images)])).toEqual([
			["a [red] circle", 1, 10, 20],
			["a square", 0, 20, 10],
		]);
	});

	it("tells rows without a caption, an answer, or two images", async () => {
		const images = ["a.png", "b.png"];
		const talk = (question: string, answer: string) => [{ value: question }, { value: answer }];
		const asked = "Text Caption: [a cat]";
		const { bad, counts } = await rowsIn("imagegen-cot-reward-5k", [
			{ conversations: talk("Which?", "<answer>Image 1 is better</answer>"), images },
			{ conversations: talk(asked, "Image 1"), images },
			{ conversations: talk(asked, "<answer>Image 1 is better</answer>"), images: ["a.png"] },
			{ conversations: talk(asked, "<answer>Both images are equally good</answer>"), images },
		]);
		expect(bad.map(({ field }) => field)).toEqual(["conversations.0.value", "conversations.1.value", "images"]);
		expect(counts).toMatchObject({ records: 0, ties: 1 });
	});
});

describe("imagerewarddb", () => {
	it("pairs any two images of a prompt by rank; equal ranks are ties; paths are relative to the folder of images/", async () => {
		const { records, counts } = await read("imagerewarddb:imagerewarddb");
		expect(records.map(({ images, preferred }) => [...shades(images), preferred])).toEqual([
			[10, 20, 1],
			[20, 30, 0],
			[40, 50, 0],
		]);
		expect(counts).toEqual({ rows: 3, records: 3, bad: {}, ties: 1 });
	});

	it("tells a prompt that comes again, and a row without a rank", async () => {
		const row = (prompt_id: string, rank?: number) => ({ prompt_id, prompt: "p", image_path: "a.png", rank });
		const { bad } = await rowsIn("imagerewarddb", [row("x", 1), row("y"), row("y", 1), row("x", 2)]);
		expect(bad.map(({ row, field, expected }) => [row, field, expected])).toEqual([
			[1, "rank", "number"],
			[3, "prompt_id", "the rows of a prompt together (sort the file by prompt_id)"],
		]);
	});
});

describe("omnirewardbench-t2i", () => {
	it("keeps the criteria, which are part of the key; images are in media_data", async () => {
		const { records, counts } = await read("omnirewardbench-t2i:omnirewardbench/text_to_image/test.parquet");
		expect(records).toMatchObject([
			{ preferred: 1, criteria: "The light should be warm.", model1: "flux" },
			{ preferred: 0, criteria: "The lamp should stand." },
		]);
		const { prompt, criteria, preferred } = records[0];
		expect(records[0].key).toBe(keyOf({ prompt, criteria, preferred, paths: ["t2i/10.png", "t2i/20.png"] }));
		expect(records[0].images[0]).toBe(join(SOURCES, "omnirewardbench/media_data/t2i/10.png"));
		expect(counts.ties).toBe(1);
	});
});

describe("genai_bench", () => {
	it("of ratings: any two generators, the higher mean is preferred; images in the file become files", async () => {
		const imageCache = await temporaryFolder();
		const { records, counts } = await read("genai_bench:genai_bench/ratings.parquet", { imageCache });
		expect(records.map(({ model1, model2, preferred }) => [model1, model2, preferred])).toEqual([
			["DALLE_3", "SDXL_Base", 0],
			["DALLE_3", "Midjourney_6", 0],
		]);
		expect(counts.ties).toBe(1);
		const [image] = records[0].images;
		const bytes = await readFile(image);
		expect(bytes).toEqual(await readFile(join(SOURCES, "hpdv3/images/10.png")));
		const digest = createHash("sha256").update(bytes).digest("hex");
		expect(image).toBe(join(imageCache, digest.slice(0, 2), `${digest}.png`));
		const second = createHash("sha256")
			.update(await readFile(records[0].images[1]))
			.digest("hex");
		expect(records[0].key).toBe(keyOf({ prompt: "a baker", paths: [`sha256:${digest}`, `sha256:${second}`], preferred: 0 }));
	});

	it("of votes: left, right, and what is a tie", async () => {
		const { records, counts } = await read("genai:genai_bench/votes.parquet");
		expect(records.map(({ model1, preferred }) => [model1, preferred])).toEqual([
			["PixArt", 1],
			["PixArt", 0],
		]);
		expect(counts).toMatchObject({ records: 2, ties: 2 });
	});

	it("tells a row with one rated image, and a vote for nobody", async () => {
		const vote = { prompt: "p", left_image: "a.png", right_image: "b.png", vote_type: "skip" };
		const { bad } = await rowsIn("genai", [{ Prompt: "p", HumanRatings: { A: [1], B: [2] }, A: "a.png" }, vote]);
		expect(bad.map(({ field }) => field)).toEqual(["HumanRatings", "vote_type"]);
	});
});

describe("rapidata", () => {
	it("sums preference, coherence and alignment; what is missing counts 0", async () => {
		const { records, counts } = await read("rapidata-t2i:rapidata/train.parquet");
		expect(records.map(({ preferred, model1, model2 }) => [preferred, model1, model2])).toEqual([
			[0, "4o", "imagen"],
			[1, "4o", "imagen"],
		]);
		expect(counts.ties).toBe(1);
	});

	it("takes bare votes, as the older data sets have them", async () => {
		const row = (...[one, two]: (number | undefined)[]) => {
			return { prompt: `${one} to ${two}`, image1: "10.png", image2: "20.png", votes_image1: one, votes_image2: two };
		};
		const { records, bad, counts } = await rowsIn("rapidata", [row(21, 5), row(3, 23), row(13, 13), row(1), row(-1, 2)], {
			imageRoot: join(SOURCES, "pairs"),
		});
		expect(records.map(({ preferred, choiceDist }) => [preferred, choiceDist])).toEqual([
			[0, [21, 5]],
			[1, [3, 23]],
		]);
		expect(bad.map(({ row, field }) => [row, field])).toEqual([
			[3, "weighted_results_image1_preference"],
			[4, "votes_image1"],
		]);
		expect(counts.ties).toBe(1);
	});

	it("tells a row without any result", async () => {
		const { bad } = await rowsIn("rapidata", [{ prompt: "p", image1: "a.png", image2: "b.png" }]);
		expect(bad).toMatchObject([{ field: "weighted_results_image1_preference", expected: "a result of a vote" }]);
	});
});

describe("pairs, by a mapping", () => {
	it("from a file: fields by path, labels by value, ties, and values that are neither", async () => {
		const mapping = await readPairMapping(join(SOURCES, "pairs/mapping.yaml"));
		const { records, bad, counts } = await read("pairs:pairs/pairs.jsonl", { mapping });
		expect(records).toMatchObject([
			{ prompt: "a cup", preferred: 0, model1: "a", model2: "b" },
			{ prompt: "a cup", preferred: 1 },
		]);
		expect(counts.ties).toBe(1);
		expect(bad).toMatchObject([{ row: 3, field: "vote", expected: 'one of ["left","right","same"]', got: '"up"' }]);
	});

	it("by two numbers, either way round", async () => {
		const rows = [1, 2, 3].map((b) => ({ p: `${b}`, a: "10.png", b: "20.png", s: [2, b] }));
		const base = { prompt: "p", imageA: "a", imageB: "b" };
		const preferred = async (preference: PairMapping["preference"]) => {
			const imageRoot = join(SOURCES, "pairs");
			const { records } = await rowsIn("pairs", rows, { imageRoot, mapping: { ...base, preference } });
			return records.map((record) => record.preferred);
		};
		expect(await preferred({ scoreA: "s.0", scoreB: "s.1" })).toEqual([0, 1]);
		expect(await preferred({ scoreA: "s.0", scoreB: "s.1", lowerIsBetter: true })).toEqual([1, 0]);
		expect(await preferred({ always: "B" })).toEqual([1, 1, 1]);
	});

	it("names the file's fields in messages", async () => {
		const mapping: PairMapping = { prompt: "q", imageA: "x.y", imageB: "z", choiceDist: "votes", preference: { always: "A" } };
		const { bad } = await rowsIn(
			"pairs",
			[
				{ q: "p", z: "b.png" },
				{ q: "p", x: { y: "a.png" }, z: "b.png", votes: [1, "two"] },
			],
			{ mapping },
		);
		expect(bad.map(({ field, expected }) => [field, expected])).toEqual([
			["x.y", "string"],
			["votes.1", "number"],
		]);
	});

	it("refuses what is no mapping, and a source without one", async () => {
		expect(() => checkPairMapping({ prompt: "p", imageA: "a" }, "m.yaml")).toThrow(
			/m\.yaml: imageB: expected string, got nothing; such as/,
		);
		expect(() => checkPairMapping({ prompt: "p", imageA: "a", imageB: "b", preference: { field: "x" } })).toThrow(/mapping: preference/);
		expect(() => loadDataset("pairs:a.json")).toThrow(/source "pairs:a\.json": expected a mapping from its fields, got none; give mapping/);
		const file = join(await temporaryFolder(), "m.yaml");
		await writeFile(file, "a: [");
		await expect(readPairMapping(file)).rejects.toThrow(/m\.yaml: expected YAML or JSON/);
	});
});

describe("tar shards", () => {
	it("have their images by the member's whole name, its last part, or what follows the key; plain and compressed", async () => {
		const { records } = await read("hpdv3:shards");
		expect(records.map(({ prompt }) => prompt)).toEqual(["number 0", "number 1", "number 2", "number 3"]);
		const mapping: PairMapping = { prompt: "txt", imageA: "0.png", imageB: "1.png", preference: { always: "A" } };
		const mapped = (await read("pairs:shards", { mapping })).records;
		expect(mapped.map(({ prompt }) => prompt)).toEqual(["text 0", "text 1", "text 2", "text 3"]);
		for (const [i, { images }] of mapped.entries()) {
			const contents = (files: readonly string[]) => Promise.all(files.map((file) => readFile(file, "hex")));
			expect(await contents(images)).toEqual(await contents(records[i].images));
		}
		expect(new Set(mapped.flatMap(({ images }) => images.map((image) => basename(image)))).size).toBe(8);
	});

	it("reach no file outside, whatever their JSON says and their members are called", async () => {
		const folder = await temporaryFolder();
		const archive = pack();
		const row = { prompt: "p", path1: "../../1.0.jpg", path2: "/etc/hostname" };
		archive.entry({ name: "../../1.json" }, JSON.stringify(row));
		archive.entry({ name: "../../1.0.jpg" }, "picture");
		archive.finalize();
		const parts: Uint8Array[] = [];
		for await (const part of archive) if (part instanceof Uint8Array) parts.push(part);
		await writeFile(join(folder, "a.tar"), Buffer.concat(parts));
		const imageCache = join(folder, "cache");
		const { bad } = await read(`hpdv3:${join(folder, "a.tar")}`, { imageCache });
		expect(bad).toMatchObject([{ row: 0, field: "path2", kind: "outside-root", value: { "0.jpg": { bytes: "7 bytes" } } }]);
		expect((await readdir(folder)).sort()).toEqual(["a.tar", "cache"]);
	});
});

describe("a source as it is written", () => {
	it("has a schema, a path, and a weight or none", () => {
		expect(parseSources("hpdv3:a@b.json")).toEqual([{ name: "hpdv3", path: "a@b.json" }]);
		expect(parseSources(["hpdv3:a.json@0.7", "genai:b.parquet@3"])).toEqual([
			{ name: "hpdv3", path: "a.json", weight: 0.7 },
			{ name: "genai", path: "b.parquet", weight: 3 },
		]);
	});

	it.each([
		[["hpdv3:a.json@0"], /expected a weight above 0 after "@", got 0/],
		[["hpdv3:a.json@-1"], /expected a weight above 0/],
		[["hpdv3:@1"], /expected a path after "hpdv3:"/],
		[["hpdv3:a.json@0.7", "genai:b.parquet"], /source "genai:b\.parquet": expected a weight such as @0\.5, as hpdv3 has one/],
		[["rapidata-t2v:a.parquet"], /expected pairs of images, got rapidata-t2v, which has video or sound/],
	])("refuses %j", (sources, message) => expect(() => parseSources(sources)).toThrow(message));
});
