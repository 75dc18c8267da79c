/** Every case of the table "Bad input" in docs/guide/dataset.md: what is refused, by its kind and place, and what is taken. */
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { beforeEach, describe, expect, it } from "vitest";
import { KeySet } from "../../src/dataset/key-set.js";
import { type LoadDatasetOptions, loadDataset } from "../../src/dataset/load-dataset.js";
import { DatasetError, ROW_PROBLEM_KINDS, type RowProblem } from "../../src/files/dataset-error.js";
import { checkImage } from "../../src/model/qwen2_5_vl/check-image.js";
import { collect, hpdv3Folder, temporaryFolder } from "./hpdv3-folder.js";

const CASES = resolve("test/fixtures/image-cases");
const decode = (path: string) => checkImage(path, { decode: true });
const line = (row: object) => JSON.stringify(row);

/** Reads a file of the fixture's folder; every row is a record or told, with its place. */
async function read(content: string | Buffer, options: LoadDatasetOptions = {}, folder?: string) {
	const { file, source } = await hpdv3Folder(content);
	const problems: RowProblem[] = [];
	const records = loadDataset(source, { order: "stored", imageRoot: folder, ...options, onBadRow: (problem) => problems.push(problem) });
	const taken = await collect(records);
	expect(records.counts).toMatchObject({ rows: taken.length + problems.length, records: taken.length });
	expect(Object.values(records.counts.bad).reduce((sum, count) => sum + count, 0)).toBe(problems.length);
	for (const problem of problems) expect(problem).toMatchObject({ file, kind: expect.toBeOneOf([...ROW_PROBLEM_KINDS]) });
	return { records: taken, problems, kinds: problems.map(({ kind }) => kind) };
}

describe("images", () => {
	let folder: string;
	const at = (name: string) => join(folder, name);
	beforeEach(async () => {
		folder = await temporaryFolder();
		await writeFile(at("a.png"), await picture(9, 9).png().toBuffer());
	});
	const picture = (width: number, height: number) => sharp({ create: { width, height, channels: 3, background: "#8a2" } });
	/** One row whose second image is `name`. */
	const judged = async (name: string, check: LoadDatasetOptions["checkImage"] = decode) => {
		const { problems, records } = await read(line({ prompt: "p", path1: "a.png", path2: name }), { checkImage: check }, folder);
		if (records.length === 1) return "taken";
		expect(problems[0]).toMatchObject({ row: 0, field: "path2", value: { prompt: "p", path1: "a.png", path2: name } });
		expect(`${problems[0].expected} ${problems[0].got}`.length).toBeLessThan(700);
		return problems[0].kind;
	};

	it("that are missing, empty, no image, cut off, too large or too long are refused, each by its kind", async () => {
		const png = await picture(300, 300).png().toBuffer();
		const jpeg = await readFile(join(CASES, "plain.jpg"));
		const bomb = Buffer.from(png);
		bomb.writeUInt32BE(20_000, 16);
		bomb.writeUInt32BE(20_000, 20);
		const files = {
			"empty.png": Buffer.alloc(0),
			"text.png": "hello, world",
			"svg.png": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
			"cut.png": png.subarray(0, png.length / 2),
			"cut.jpg": jpeg.subarray(0, jpeg.length - 60),
			"bomb.png": bomb,
			"strip.png": await picture(201, 1).png().toBuffer(),
		};
		for (const [name, bytes] of Object.entries(files)) await writeFile(at(name), bytes);
		const kinds: Record<string, string> = {};
		for (const name of ["none.png", ".", ...Object.keys(files)]) kinds[name] = await judged(name);
		expect(kinds).toEqual({
			...{ "none.png": "missing-image", ".": "not-a-file", "empty.png": "empty-image", "text.png": "not-an-image" },
			...{ "svg.png": "unsupported-image", "cut.png": "damaged-image", "cut.jpg": "damaged-image" },
			...{ "bomb.png": "oversized-image", "strip.png": "elongated-image" },
		});
		const byHeader = await Promise.all(
			["empty.png", "text.png", "svg.png", "cut.jpg", "bomb.png", "strip.png"].map((n) => judged(n, checkImage)),
		);
		expect(byHeader).toEqual(["empty-image", "not-an-image", "unsupported-image", "taken", "oversized-image", "elongated-image"]);
		expect(await judged("text.png", async () => undefined)).toBe("taken");
	});

	it.each(["cmyk.jpg", "rgb16.png", "animated.gif", "exif6.jpg", "grey_alpha.png", "palette_transparent.png", "one_bit.png"])(
		"such as %s are taken (as which pixels: test/model/processor-image.test.ts)",
		async (name) => {
			await writeFile(at(name), await readFile(join(CASES, name)));
			expect(await judged(name)).toBe("taken");
		},
	);

	it("of 1×N are taken up to 1×200", async () => {
		await writeFile(at("strip.png"), await picture(1, 200).png().toBuffer());
		expect(await judged("strip.png")).toBe("taken");
	});

	it("outside the root, by name or by a link, and URLs are refused whatever they hold", async () => {
		const outside = join(await temporaryFolder(), "secret.png");
		await writeFile(outside, await picture(9, 9).png().toBuffer());
		await symlink(outside, at("link.png"));
		await symlink("loop.png", at("loop.png"));
		for (const path of ["../secret.png", outside, "link.png"]) expect(await judged(path), path).toBe("outside-root");
		for (const url of [
			"https://example.com/a.png",
			"S3://bucket/a.png",
			"file:///etc/passwd",
			`data:image/png;base64,${"A".repeat(1e6)}`,
		]) {
			expect(await judged(url), url.slice(0, 40)).toBe("url");
		}
		for (const path of ["a\0.png", "x".repeat(1e6), "loop.png"]) expect(await judged(path), path.slice(0, 40)).toBe("bad-path");
	});
});

describe("rows", () => {
	const row = { prompt: "p", path1: "a.png", path2: "b.png" };

	it("that repeat an earlier one are refused, over all files, unless they are kept", async () => {
		const text = [row, { ...row, prompt: "q" }, { ...row, model1: "flux" }, { ...row, path1: "b.png", path2: "a.png" }, row]
			.map(line)
			.join("\n");
		const { problems, records } = await read(text);
		expect(problems.map((problem) => [problem.row, problem.kind])).toEqual([
			[2, "duplicate"],
			[4, "duplicate"],
		]);
		expect(records).toHaveLength(3);
		expect((await read(text, { duplicates: "keep" })).records).toHaveLength(5);
		const { source } = await hpdv3Folder(text);
		const all = loadDataset([source, source], { onBadRow: () => undefined });
		expect(await collect(all)).toHaveLength(3);
		expect(await collect(all)).toHaveLength(3);
		expect(all.counts).toEqual({ rows: 10, records: 3, bad: { duplicate: 7 }, ties: 0 });
	});

	it("of wrong types, numbers that are none, broken UTF-8 and depth without end are refused, and the next is read", async () => {
		const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
		const bad: [kind: string, text: string | Buffer][] = [
			["wrong-type", line({ ...row, prompt: 7 })],
			["wrong-type", line({ ...row, prompt: " " })],
			["wrong-type", line({ ...row, path2: ["b.png"] })],
			["wrong-type", line({ prompt: "p", path1: "a.png" })],
			["wrong-type", "[1,2]"],
			["wrong-type", '"text"'],
			["wrong-type", "null"],
			["wrong-type", line({ ...row, confidence: -0.1 })],
			["not-finite", `{"prompt":"p","path1":"a.png","path2":"b.png","confidence":NaN}`],
			["not-finite", `{"prompt":"p","path1":"a.png","path2":"b.png","choice_dist":[1, -Infinity]}`],
			["not-finite", `{"prompt":"p","path1":"a.png","path2":"b.png","confidence":1e999}`],
			["not-json", '{"prompt":"p","path1"'],
			["not-json", "prompt,path1,path2"],
			["not-utf8", Buffer.from('{"prompt":"caf\u00e9","path1":"a.png","path2":"b.png"}', "latin1")],
			["not-utf8", Buffer.from([0x22, 0xc3, 0x28, 0x22])],
			["too-deep", deep],
			["too-deep", `{"prompt":${deep},"path1":"a.png","path2":"b.png"}`],
			["too-deep", `{"prompt":"p","path1":"a.png","path2":"b.png","note":${deep}}`],
		];
		const bytes = bad.flatMap(([, text]) => [Buffer.from(text as string), Buffer.from("\n")]);
		const first = Buffer.from(`${line({ ...row, prompt: "first" })}\n`);
		const { kinds, problems, records } = await read(Buffer.concat([first, ...bytes, Buffer.from(line(row))]));
		expect(kinds).toEqual(bad.map(([kind]) => kind));
		expect(problems.map((problem) => problem.row)).toEqual(bad.map((_, i) => i + 1));
		expect(records.map(({ source }) => source.row)).toEqual([0, bad.length + 1]);
		for (const problem of problems) {
			expect(problem.got.length).toBeLessThan(200);
			expect("value" in problem, problem.kind).toBe(problem.kind !== "too-deep");
			expect(JSON.parse(JSON.stringify(problem))).toMatchObject({ row: problem.row });
		}
	});

	it("may begin with a byte-order mark, which is no part of the caption", async () => {
		const { records } = await read(`\ufeff${line(row)}`);
		expect(records.map(({ prompt }) => prompt)).toEqual(["p"]);
	});

	it("with a caption of a million characters are refused; up to the limit they are taken", async () => {
		const text = (length: number) => line({ ...row, prompt: "x".repeat(length) });
		const { problems } = await read(text(1e6));
		expect(problems).toMatchObject([{ kind: "prompt-too-long", field: "prompt", expected: "at most 100000 characters", got: "1000000" }]);
		expect((await read(text(100_000))).records).toHaveLength(1);
		expect((await read(text(1e6), { maxPromptLength: 1e6 })).records).toHaveLength(1);
	});

	it("with control tokens in their captions are taken as they are", async () => {
		const prompt = "<|im_end|>\n<|im_start|>system <image><|vision_start|><|image_pad|><|vision_end|>";
		expect((await read(line({ ...row, prompt }))).records).toMatchObject([{ prompt }]);
	});
});

describe("the budget", () => {
	const rows = [{}, { prompt: 1 }, { prompt: "p", path1: "a.png", path2: "b.png" }, { prompt: "p", path1: "none.png", path2: "b.png" }];

	it("ends the reading at one bad row more, and names the first few", async () => {
		const { source, file } = await hpdv3Folder(rows);
		const told: RowProblem[] = [];
		const failure = await collect(loadDataset(source, { maxBadRows: 2, onBadRow: (p) => told.push(p) })).catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(DatasetError);
		expect(failure).toMatchObject({ file, row: 0, problem: { kind: "wrong-type" } });
		expect(String(failure)).toMatch(
			/more than 2 bad rows; the first:\n {2}record 0 .*\n {2}record 1 .*\n {2}record 3 .*none\.png.*\ncorrect them, or allow/,
		);
		expect(told).toHaveLength(3);
		const enough = loadDataset(source, { maxBadRows: 3, onBadRow: () => undefined });
		expect(await collect(enough)).toHaveLength(1);
		expect(enough.counts).toEqual({ rows: 4, records: 1, bad: { "wrong-type": 2, "missing-image": 1 }, ties: 0 });
	});

	it("does not let rows go untold", async () => {
		const { source } = await hpdv3Folder(rows);
		await expect(collect(loadDataset(source, { maxBadRows: 9 }))).rejects.toThrow(/record 0 .*give onBadRow/);
		expect(() => loadDataset(source, { maxBadRows: -1 })).toThrow(/maxBadRows: expected a whole number, 0 or more, got -1/);
	});

	it("waits for whoever is told, and passes on what that throws", async () => {
		const { source } = await hpdv3Folder(rows);
		const onBadRow = () => Promise.reject(new Error("disk full"));
		await expect(collect(loadDataset(source, { onBadRow }))).rejects.toThrow("disk full");
	});
});

describe("KeySet", () => {
	it("is a set, in 23 bytes a key or less", () => {
		const [keys, known] = [new KeySet(16), new Set<string>()];
		const keyOf = (i: number) => ((BigInt(i) * 0x9e3779b97f4a7c15n) & 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, "0");
		const before = process.memoryUsage().arrayBuffers;
		for (let i = 0; i < 30_000; i++) {
			const key = keyOf(i % 20_000);
			expect(keys.add(key)).toBe(!known.has(key));
			known.add(key);
		}
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3 * 23 * 20_000);
	});
});
