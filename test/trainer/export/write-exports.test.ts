import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import { EXPORT_LAYOUTS, LAYOUTS } from "../../../src/trainer/export/layouts.js";
import { EXPORT_KINDS, trainingRows } from "../../../src/trainer/export/training-rows.js";
import { type ExportFormat, exportFiles, type WriteExportsOptions, writeExports } from "../../../src/trainer/export/write-exports.js";
import { readConversations } from "../../../src/trainer/sharegpt.js";
import { collect, temporaryFolder } from "../../dataset/hpdv3-folder.js";
import { BETTER, WORSE } from "../../sampler/records.js";
import { filteredRecords } from "./filtered-records.js";

interface Row {
	[field: string]: unknown;
	images: string[];
	provenance: { key: string; order: number[]; preferred: number };
}

async function write(options: WriteExportsOptions = {}) {
	const folder = await temporaryFolder();
	const records = await filteredRecords();
	const { counts } = await writeExports(folder, options, async (add) => {
		for (const record of records) await add(record);
	});
	return { folder, counts };
}

async function read(file: string): Promise<Row[]> {
	if (file.endsWith(".parquet")) return (await parquetReadObjects({ file: await asyncBufferFromFile(file) })).map(plain) as Row[];
	const text = await readFile(file, "utf8");
	if (file.endsWith(".json")) return JSON.parse(text) as Row[];
	return text
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line) as Row);
}

/** Parquet's 64-bit numbers as JSON's, and its nulls as absent. */
function plain(value: unknown): unknown {
	if (typeof value === "bigint") return Number(value);
	if (Array.isArray(value)) return value.map(plain);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(Object.entries(value).flatMap(([name, field]) => (field === null ? [] : [[name, plain(field)]])));
}

const QUESTION = "**Image 1:** <image>\n**Image 2:** <image>\nWhich?";

describe("trainingRows", () => {
	it("imitates the kept, practises the wrong once per question, pairs within one question, and leaves excluded records out", async () => {
		const [mixed, excluded, hard] = (await filteredRecords()).map((record) => trainingRows(record));
		expect([mixed, excluded, hard].map(({ sft, grpo, dpo }) => [sft.length, grpo.length, dpo.length])).toEqual([
			[3, 2, 2],
			[0, 0, 0],
			[1, 1, 0],
		]);
		expect(mixed.dpo.map(({ provenance: { order, chosenSample, rejectedSample } }) => [order, chosenSample, rejectedSample])).toEqual([
			[[0, 1], 0, 2],
			[[1, 0], 3, 4],
		]);
		expect(mixed.grpo.map(({ provenance: { right, of } }) => [right, of])).toEqual([
			[3, 7],
			[3, 7],
		]);
	});

	it("is in the shown order throughout: the image that a chosen answer or a solution names is the preferred one", async () => {
		const named = (text: string, images: string[]) => images[Number(/Image ([12]) is better/.exec(text)?.[1]) - 1];
		const all = (await filteredRecords()).map((record) => trainingRows(record));
		for (const { answer, images } of all.flatMap(({ sft }) => sft)) expect(named(answer, images)).toBe(BETTER);
		for (const { solution, images } of all.flatMap(({ grpo }) => grpo)) expect(named(solution, images)).toBe(BETTER);
		for (const { chosen, rejected, images } of all.flatMap(({ dpo }) => dpo)) {
			expect([named(chosen, images), named(rejected, images)]).toEqual([BETTER, WORSE]);
		}
		expect(new Set(all.flatMap(({ sft }) => sft.map(({ images }) => images[0]))).size).toBe(2);
	});
});

describe("writeExports", () => {
	it("writes every layout and kind from one pass, and says how many rows", async () => {
		const { folder, counts } = await write();
		expect((await readdir(folder, { recursive: true })).filter((name) => name.includes("/")).sort()).toEqual(
			[
				...["llama-factory/dataset_info.json", "llama-factory/dpo.jsonl", "llama-factory/grpo.jsonl", "llama-factory/sft.jsonl"],
				...["lightrft/grpo.json", "lightrft/sft.json"],
				...["ms-swift/dpo.jsonl", "ms-swift/grpo.jsonl", "ms-swift/sft.jsonl", "trl/dpo.jsonl", "trl/grpo.jsonl", "trl/sft.jsonl"],
			].sort(),
		);
		for (const [file, count] of Object.entries(counts)) {
			expect(count).toBe(file.includes("sft") ? 4 : file.includes("grpo") ? 3 : 2);
			expect(await read(file)).toHaveLength(count);
		}
		expect(Object.keys(counts).length + 1).toBe(exportFiles(folder).length);
	});

	it("is the same in JSON, JSON Lines and Parquet", async () => {
		const rows = async (format: ExportFormat) => {
			const { counts } = await write({ format, layouts: ["llama-factory", "ms-swift", "trl"] });
			return Promise.all(Object.keys(counts).map(read));
		};
		const json = await rows("json");
		expect(json.flat()).toHaveLength(27);
		expect(await rows("jsonl")).toEqual(json);
		expect(await rows("parquet")).toEqual(json);
	});

	it("has the trainers' fields", async () => {
		const { folder } = await write({ imageRoot: "test/fixtures/hpdv3" });
		const first = async (name: string) => {
			const { provenance, ...row } = (await read(join(folder, name)))[0];
			expect(provenance).toMatchObject({ key: "key-0", source: "hpdv3:pairs.json", row: 0, order: [0, 1], preferred: 0 });
			return row;
		};
		const images = ["images/two-red-circles.png", "images/one-red-circle.jpg"];
		const answer = (image: number) => `<think>\nGrößer: “2 > 1”\n</think>\n<answer>Image ${image} is better</answer>`;
		expect(await first("llama-factory/dpo.jsonl")).toEqual({
			conversations: [{ from: "human", value: QUESTION }],
			chosen: { from: "gpt", value: answer(1) },
			rejected: { from: "gpt", value: answer(2) },
			images,
		});
		expect(await first("ms-swift/dpo.jsonl")).toEqual({
			messages: [
				{ role: "user", content: QUESTION },
				{ role: "assistant", content: answer(1) },
			],
			rejected_response: answer(2),
			images,
		});
		const parts = [
			{ type: "text", text: "**Image 1:** " },
			{ type: "image" },
			{ type: "text", text: "\n**Image 2:** " },
			{ type: "image" },
			{ type: "text", text: "\nWhich?" },
		];
		expect(await first("trl/sft.jsonl")).toEqual({
			messages: [
				{ role: "user", content: parts },
				{ role: "assistant", content: [{ type: "text", text: answer(1) }] },
			],
			images,
		});
		const problem = { problem: QUESTION, solution: "<answer>Image 1 is better</answer>", images };
		expect(await first("llama-factory/grpo.jsonl")).toEqual(problem);
		expect(await first("ms-swift/grpo.jsonl")).toEqual({ messages: [{ role: "user", content: QUESTION }], ...problem });
		expect(await first("trl/grpo.jsonl")).toEqual({ prompt: [{ role: "user", content: parts }], ...problem });
		expect(await first("lightrft/sft.json")).toEqual({
			conversations: [
				{ from: "human", value: "Which?" },
				{ from: "gpt", value: answer(1) },
			],
			images,
			source: "imagegen-cot-reward-5k",
		});
	});

	it("writes what this library's own trainer reads", async () => {
		const { folder } = await write({ layouts: ["llama-factory", "lightrft"] });
		const rows = await collect(readConversations(join(folder, "llama-factory", "sft.jsonl")));
		expect(rows.map(({ provenance }) => provenance?.sampleIndex)).toEqual([0, 1, 3, 2]);
		// A bare row with two images is given the judge's header again.
		const bare = await collect(readConversations(join(folder, "lightrft", "sft.json")));
		expect(bare.map(({ conversations }) => conversations)).toEqual(rows.map(({ conversations }) => conversations));
	});

	it("names LLaMA-Factory's files that have rows", async () => {
		const { folder } = await write({ kinds: ["sft", "dpo"], layouts: ["llama-factory"], format: "parquet" });
		const info = JSON.parse(await readFile(join(folder, "llama-factory", "dataset_info.json"), "utf8")) as Record<string, unknown>;
		expect(info).toMatchObject({
			rft_sft: { file_name: "sft.parquet", formatting: "sharegpt", columns: { messages: "conversations", images: "images" } },
			rft_dpo: { file_name: "dpo.parquet", ranking: true, columns: { chosen: "chosen", rejected: "rejected" } },
		});
		const empty = await temporaryFolder();
		const { counts } = await writeExports(empty, { format: "parquet" }, async () => undefined);
		expect(new Set(Object.values(counts))).toEqual(new Set([0]));
		expect(await readFile(join(empty, "llama-factory", "dataset_info.json"), "utf8")).toBe("{}\n");
		expect(await read(join(empty, "trl", "dpo.parquet"))).toEqual([]);
	});

	it("leaves no file where a row can't be read by its trainer, or the pass fails", async () => {
		const [record] = await filteredRecords();
		const folder = await temporaryFolder();
		const rollouts = record.rollouts.map((rollout) => ({ ...rollout, promptText: "Which?" }));
		const bad = writeExports(folder, { layouts: ["ms-swift"] }, (add) => add({ ...record, rollouts }));
		await expect(bad).rejects.toThrow(
			/export of record 0 of hpdv3:pairs\.json \(key-0\) to .*sft\.jsonl: messages: expected 2 <image> in the question and none in the answer, got array .*; nothing was written/,
		);
		await expect(writeExports(folder, {}, () => Promise.reject(new Error("cut")))).rejects.toThrow("cut");
		const left = await readdir(folder, { recursive: true, withFileTypes: true });
		expect(left.filter((entry) => entry.isFile())).toEqual([]);
	});

	it.each(EXPORT_LAYOUTS)("%s: a row with an image too few, or an <image> in an answer, is refused", async (name) => {
		const [record] = await filteredRecords();
		const { sft, grpo, dpo } = trainingRows(record, { imageRoot: resolve("test") });
		for (const kind of EXPORT_KINDS) {
			const layout = LAYOUTS[name][kind] as
				| { schema: { safeParse(row: unknown): { success: boolean } }; toRow(row: unknown): object }
				| undefined;
			if (!layout) continue;
			const row = { sft: sft[0], grpo: grpo[0], dpo: dpo[0] }[kind];
			const accepts = (change: object) => layout.schema.safeParse(layout.toRow({ ...row, ...change })).success;
			expect(accepts({})).toBe(true);
			expect(accepts({ images: row.images.slice(1) })).toBe(false);
			expect(accepts({ solution: "Image 3", chosen: "", answer: "" })).toBe(false);
			if (name === "ms-swift" || name === "llama-factory") expect(accepts({ question: "Which?", answer: "an <image>" })).toBe(false);
		}
	});
});
