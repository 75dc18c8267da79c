import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import { type TensorSource, writeSafetensors } from "../../src/checkpoint/write-safetensors.js";
import { goldenPath } from "../fixtures/read-golden.js";

let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "safetensors-"));
});
afterAll(() => rm(dir, { recursive: true }));

/** A file with this header text and so many bytes of data. */
async function raw(header: string, dataBytes: number, length = Buffer.byteLength(header)): Promise<string> {
	const file = join(dir, `${Math.random()}.safetensors`);
	const prefix = Buffer.alloc(8);
	prefix.writeBigUInt64LE(BigInt(length));
	await writeFile(file, Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(dataBytes, 7)]));
	return file;
}

const refusal = (file: string) =>
	openSafetensors(file).then(
		() => expect.fail("opened"),
		(error: Error) => error.message,
	);

describe("openSafetensors", () => {
	it("reads each tensor as the whole file has it", async () => {
		const path = goldenPath("tiny-qwen2_5_vl", "model.safetensors");
		const bytes = await readFile(path);
		const headerBytes = Number(bytes.readBigUInt64LE());
		const expected = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes));
		const file = await openSafetensors(path);
		expect(file.metadata).toEqual({ format: "pt" });
		expect([...file.header.keys()].sort()).toEqual(
			Object.keys(expected)
				.filter((name) => name !== "__metadata__")
				.sort(),
		);
		for (const [name, { shape, dtype }] of file.header) {
			const [from, to] = expected[name].data_offsets;
			expect({ shape, dtype }).toEqual({ shape: expected[name].shape, dtype: expected[name].dtype });
			expect(Buffer.compare(await file.read(name), bytes.subarray(8 + headerBytes + from, 8 + headerBytes + to))).toBe(0);
		}
		await file.close();
	});

	it("reads into the front of a larger buffer, and refuses a smaller one and an unknown name", async () => {
		const file = await openSafetensors(await raw('{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}', 3));
		const into = new Uint8Array(5);
		expect(await file.read("a", into)).toEqual(Uint8Array.of(7, 7, 7));
		expect(into).toEqual(Uint8Array.of(7, 7, 7, 0, 0));
		await expect(file.read("a", new Uint8Array(2))).rejects.toThrow(/a has 3 bytes, the destination 2/);
		await expect(file.read("b")).rejects.toThrow(/no tensor "b" among its 1/);
		await truncate(file.file, 60);
		await expect(file.read("a")).rejects.toThrow(/ended at byte .* it was cut off/);
		await file.close();
	});

	const entry = (dtype: string, shape: string, from: number, to: number) =>
		`{"dtype":"${dtype}","shape":${shape},"data_offsets":[${from},${to}]}`;
	it.each([
		["too short for a header length", null, 0, /4 bytes, expected at least 8/],
		["not JSON", "{nope", 0, /header is not JSON/],
		["not an object", "[]", 0, /header is not a JSON object/],
		["unknown type", `{"a":${entry("F12", "[1]", 0, 4)}}`, 4, /tensor "a": .*\n.*dtype/s],
		["negative size", `{"a":${entry("F32", "[-1]", 0, 4)}}`, 4, /tensor "a"/],
		["fractional size", `{"a":${entry("F32", "[0.5]", 0, 2)}}`, 2, /tensor "a"/],
		["unknown field", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1, /tensor "a".*x/s],
		["bytes that are not shape × type", `{"a":${entry("F32", "[3]", 0, 8)}}`, 8, /\[3\] of F32 is 12 bytes, its offsets 0..8 hold 8/],
		["a size that overflows", `{"a":${entry("F32", "[4294967296,4294967296]", 0, 4)}}`, 4, /its offsets 0..4 hold 4/],
		["overlap", `{"a":${entry("U8", "[4]", 0, 4)},"b":${entry("U8", "[4]", 2, 6)}}`, 6, /"b" begins at byte .* overlap/],
		["a hole", `{"a":${entry("U8", "[2]", 0, 2)},"b":${entry("U8", "[2]", 4, 6)}}`, 6, /"b" begins at byte .* a hole/],
		["beyond the end", `{"a":${entry("U8", "[9]", 0, 9)}}`, 4, /"a" ends at byte .*, the file at/],
		["data that no tensor owns", `{"a":${entry("U8", "[2]", 0, 2)}}`, 4, /tensors end at byte .*, the file at/],
		["a name twice", `{"a":${entry("U8", "[2]", 0, 2)},"\\u0061":${entry("U8", "[2]", 2, 4)}}`, 4, /names tensor "a" twice/],
		["__proto__", `{"__proto__":${entry("U8", "[2]", 0, 2)}}`, 2, /named __proto__/],
		["metadata that is not text", '{"__metadata__":{"format":1}}', 0, /__metadata__ is not an object of strings/],
	])("refuses %s", async (_, header, dataBytes, message) => {
		const file = header === null ? join(dir, "short") : await raw(header, dataBytes);
		if (header === null) await writeFile(file, "1234");
		expect(await refusal(file)).toMatch(message);
		expect(await refusal(file)).toContain(file);
	});

	it("refuses a header length beyond the file or beyond the bound before allocating it", async () => {
		expect(await refusal(await raw("{}", 0, 3))).toMatch(/header length is 3, expected at most 2/);
		expect(await refusal(await raw("{}", 0, Number.MAX_SAFE_INTEGER))).toMatch(/header length is 9007199254740991/);
	});

	it("takes a name that looks like structure", async () => {
		const name = 'a":{"b","}\\';
		const file = await openSafetensors(
			await raw(`{${JSON.stringify(name)}:${entry("U8", "[1]", 0, 1)},"c":${entry("U8", "[1]", 1, 2)}}`, 2),
		);
		expect([...file.header.keys()]).toEqual([name, "c"]);
		await file.close();
	});
});

describe("writeSafetensors", () => {
	const source = (name: string, dtype: TensorSource["dtype"], shape: number[], bytes: number[]): TensorSource => ({
		name,
		dtype,
		shape,
		data: async () => Uint8Array.from(bytes),
	});

	it("gives back what went in, the first tensor at a multiple of 64 bytes, every one at a multiple of its element size", async () => {
		const path = join(dir, "out.safetensors");
		const sources = [
			source("z", "U8", [3], [1, 2, 3]),
			source("half", "BF16", [1, 2], [4, 5, 6, 7]),
			source("s", "F32", [], [8, 9, 10, 11]),
			source("e", "F32", [0, 4], []),
		];
		await writeSafetensors(path, sources);
		const file = await openSafetensors(path);
		expect([...file.header.keys()]).toEqual(["e", "s", "half", "z"]);
		expect(file.header.get("e")!.offset % 64).toBe(0);
		expect(file.header.get("half")!.offset % 2).toBe(0);
		expect(file.metadata).toEqual({ format: "pt" });
		for (const { name, shape, data } of sources) {
			expect(file.header.get(name)!.shape).toEqual(shape);
			expect(await file.read(name)).toEqual(await data());
		}
		await file.close();
	});

	it("writes the bytes that Python's safetensors wrote", async () => {
		const path = goldenPath("tiny-qwen2_5_vl", "model.safetensors");
		const original = await openSafetensors(path);
		const copy = join(dir, "copy.safetensors");
		const sources = [...original.header.values()].map((entry) => ({ ...entry, data: () => original.read(entry.name) }));
		await writeSafetensors(copy, sources.reverse());
		await original.close();
		expect(Buffer.compare(await readFile(copy), await readFile(path))).toBe(0);
	});

	it("leaves the old file and no temporary one when a tensor fails", async () => {
		const folder = await mkdtemp(join(dir, "whole-"));
		const path = join(folder, "model.safetensors");
		await writeSafetensors(path, [source("a", "U8", [1], [1])]);
		const before = await readFile(path);
		await expect(writeSafetensors(path, [source("a", "U8", [2], [1])])).rejects.toThrow(/a gave 1 bytes, its shape \[2\] of U8 is 2/);
		await expect(writeSafetensors(path, [source("a", "U8", [1], [1]), source("a", "U8", [1], [1])])).rejects.toThrow(/"a" occurs twice/);
		expect(await readdir(folder)).toEqual(["model.safetensors"]);
		expect(await readFile(path)).toEqual(before);
	});
});
