/** Pairs in every form that this library writes, back to what `toPreferencePairs` gives; and rows that are none. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FilteredRecord } from "../../src/reward/filter-rollouts.js";
import { EXPORT_FORMATS, writeExports } from "../../src/trainer/export/write-exports.js";
import type { PreferencePair } from "../../src/trainer/preference-pair.js";
import { readPreferencePairs } from "../../src/trainer/read-preference-pairs.js";
import { PAIR_HEADER } from "../../src/trainer/sharegpt.js";
import { toPreferencePairs } from "../../src/trainer/to-preference-pairs.js";
import { filteredRecords } from "./export/filtered-records.js";

let scratch: string;
let records: FilteredRecord[];
beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-pairs-"));
	records = await filteredRecords();
});
afterAll(() => rm(scratch, { recursive: true }));

async function read(file: string): Promise<PreferencePair[]> {
	const pairs: PreferencePair[] = [];
	for await (const pair of readPreferencePairs(file)) pairs.push(pair);
	return pairs;
}
async function readRows(...rows: unknown[]): Promise<PreferencePair[]> {
	const file = join(scratch, "rows.jsonl");
	await writeFile(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
	return read(file);
}

it.each(EXPORT_FORMATS)("reads what was exported as %s, whatever its layout, as the filter stage gives it in memory", async (format) => {
	const folder = join(scratch, format);
	await writeExports(folder, { kinds: ["dpo"], format }, async (add) => {
		for (const record of records) await add(record);
	});
	const expected = records.flatMap((record) => toPreferencePairs(record));
	expect(expected.length).toBeGreaterThan(1);
	for (const layout of ["llama-factory", "trl", "ms-swift"]) {
		expect(await read(join(folder, layout, `dpo.${format}`)), layout).toEqual(expected);
	}
});

const asked = { role: "user", content: "which?" };
const said = (content: unknown) => ({ role: "assistant", content });

describe("other rows of the field", () => {
	it("TRL's pairs without a prompt have it on both sides", async () => {
		const [pair] = await readRows({ chosen: [asked, said("a")], rejected: [asked, said("b")] });
		expect(pair).toEqual({
			conversations: [{ from: "human", value: "which?" }],
			chosen: { from: "gpt", value: "a" },
			rejected: { from: "gpt", value: "b" },
			images: [],
		});
	});

	it("a bare row of two images has the judge's own form", async () => {
		const turn = (from: string, value: string) => ({ from, value });
		const [pair] = await readRows({
			conversations: [turn("human", "q")],
			chosen: turn("gpt", "a"),
			rejected: turn("gpt", "b"),
			images: ["1.png", "2.png"],
		});
		expect(pair.conversations[0].value).toBe(`${PAIR_HEADER}q`);
	});
});

describe("rows that are no pairs", () => {
	const trl = { prompt: [asked], chosen: [said("a")], rejected: [said("b")] };
	const swift = { messages: [asked, said("a")], rejected_response: "b" };
	const image = [{ type: "image" }, { type: "text", text: "a" }];
	it.each([
		[{ ...trl, rejected: undefined }, "field rejected: expected array, got nothing"],
		[{ ...trl, rejected: trl.chosen }, "field rejected.value: expected another answer than the chosen one"],
		[{ ...trl, chosen: [said(image)] }, "field chosen: expected text alone: both answers are about the question's images"],
		[
			{ chosen: [asked, said("a")], rejected: [{ ...asked, content: "what?" }, said("b")] },
			"field rejected: expected the chosen side's question and images",
		],
		[{ ...trl, chosen: [asked, said("a")] }, "field chosen: expected one message on each side, the answer"],
		[{ ...trl, prompt: [said("x")] }, "field conversations: expected a question at the end"],
		[{ ...swift, rejected_response: undefined }, "field rejected_response: expected string, got nothing"],
		[{ ...swift, rejected_images: ["other.png"] }, "field rejected_images: expected none: both answers are about the same images"],
		[{ ...swift, messages: [asked] }, "field messages: expected an assistant's message at the end"],
		[{ ...swift, images: ["a.png"], messages: [{ ...asked, content: "<image><image>" }, said("a")] }, "2 placeholders but 1 image"],
		[
			{ conversations: [{ from: "human", value: "q" }], chosen: { from: "gpt", value: "a" } },
			"field rejected: expected object, got nothing",
		],
		["text", 'expected object, got string "text"'],
	])("%j", async (row, message) => {
		const reading = readRows(trl, row);
		await expect(reading).rejects.toThrow("record 1 of ");
		await expect(reading).rejects.toThrow(message);
		await expect(reading).rejects.toThrow(/correct the row or remove it|remove a placeholder/);
	});
});
