/** Safetensors headers drawn at random, alone and in a checkpoint's file: a layout that holds together, or an Error that names the file. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { DTYPE_BYTES, type SafetensorsDtype } from "../../src/checkpoint/dtype.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { parseHeader, type TensorEntry } from "../../src/checkpoint/safetensors-header.js";
import { RUNS, spoil, spoilings, TIMEOUT, timed } from "./fuzz.js";

let folder: string;
let file: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-fuzz-safetensors-"));
	file = join(folder, "model.safetensors");
});
afterAll(() => rm(folder, { recursive: true }));

const dtypes = Object.keys(DTYPE_BYTES) as SafetensorsDtype[];
const names = fc.oneof(
	fc.constantFrom("a", "model.embed_tokens.weight", "__metadata__", "__proto__", "constructor", "a\\u0062"),
	fc.string(),
);
const wholeTensors = fc.uniqueArray(
	fc.record({ name: fc.string(), dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(3), { maxLength: 3 }) }),
	{
		selector: ({ name }) => name,
		maxLength: 4,
	},
);

/** A header whose tensors follow one another, and the bytes that they take. */
function layOut(tensors: { name: string; dtype: SafetensorsDtype; shape: number[] }[]): { json: Buffer; dataBytes: number } {
	let at = 0;
	const entries = tensors.map(({ name, dtype, shape }) => {
		const begin = at;
		at += shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
		return [name, { dtype, shape, data_offsets: [begin, at] }] as const;
	});
	return { json: Buffer.from(JSON.stringify(Object.fromEntries(entries))), dataBytes: at };
}

/** The tensors cover the file from the header's end to its own, without overlap. */
function covers(entries: readonly Pick<TensorEntry, "offset" | "length">[], dataStart: number, fileBytes: number): void {
	const sorted = [...entries].sort((a, b) => a.offset - b.offset || a.length - b.length);
	let at = dataStart;
	for (const { offset, length } of sorted) {
		expect(offset).toBe(at);
		at += length;
	}
	expect(at).toBe(fileBytes);
}

async function outcome<T>(open: () => T | Promise<T>): Promise<T | undefined> {
	try {
		return await timed(open);
	} catch (error) {
		expect(error).toBeInstanceOf(Error);
		expect(Object.getPrototypeOf(error)).toBe(Error.prototype); // neither a TypeError nor a RangeError of a walk that went astray
		expect((error as Error).message.startsWith(file)).toBe(true);
		return undefined;
	}
}

it(
	"headers, whole and spoiled, are a layout that covers the file, or refused by name",
	async () => {
		const seen = { read: 0, refused: 0 };
		await fc.assert(
			fc.asyncProperty(wholeTensors, fc.option(spoilings, { freq: 3 }), fc.integer({ min: -2, max: 2 }), async (tensors, changes, more) => {
				const { json: good, dataBytes } = layOut(tensors);
				const json = changes === null ? good : spoil(good, changes);
				const fileBytes = 8 + json.length + dataBytes + (more === 2 ? 1 : 0);
				const header = await outcome(() => parseHeader(json, fileBytes, file));
				seen[header ? "read" : "refused"]++;
				if (header) covers(header.entries, 8 + json.length, fileBytes);
				else expect(changes === null && more !== 2 && !tensors.some(({ name }) => name.startsWith("__"))).toBe(false);
			}),
			{ numRuns: RUNS },
		);
		expect(Math.min(seen.read, seen.refused)).toBeGreaterThan(RUNS / 50);
	},
	TIMEOUT,
);

it(
	"headers of any JSON are refused by name",
	async () => {
		const size = fc.oneof(fc.nat(64), fc.constantFrom(-1, 1.5, 2 ** 53, 1e308, Number.MAX_SAFE_INTEGER));
		const entry = fc.oneof(
			fc.record({
				dtype: fc.oneof(fc.constantFrom(...dtypes), fc.string()),
				shape: fc.oneof(fc.array(size, { maxLength: 80 }), fc.jsonValue()),
				data_offsets: fc.oneof(fc.tuple(size, size), fc.jsonValue()),
			}),
			fc.jsonValue({ maxDepth: 6 }),
		);
		await fc.assert(
			fc.asyncProperty(fc.oneof(fc.dictionary(names, entry), fc.jsonValue()), fc.nat(200), async (value, dataBytes) => {
				const json = Buffer.from(JSON.stringify(value));
				const header = await outcome(() => parseHeader(json, 8 + json.length + dataBytes, file));
				if (header) covers(header.entries, 8 + json.length, 8 + json.length + dataBytes);
			}),
			{ numRuns: RUNS },
		);
	},
	TIMEOUT,
);

it(
	"checkpoints whose bytes are spoiled open with tensors that can be read, or are refused by name",
	async () => {
		const seen = { read: 0, refused: 0 };
		await fc.assert(
			fc.asyncProperty(wholeTensors, fc.option(spoilings, { freq: 5 }), async (tensors, changes) => {
				const { json, dataBytes } = layOut(tensors.filter(({ name }) => !name.startsWith("__")));
				const length = Buffer.alloc(8);
				length.writeBigUInt64LE(BigInt(json.length));
				const whole = Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
				await writeFile(file, changes === null ? whole : spoil(whole, changes));
				const checkpoint = await outcome(() => openCheckpoint(folder));
				seen[checkpoint ? "read" : "refused"]++;
				if (!checkpoint) return;
				for (const name of checkpoint.names()) expect((await checkpoint.read(name)).length).toBe(checkpoint.entry(name).length);
				await checkpoint.close();
			}),
			{ numRuns: RUNS / 5 },
		);
		expect(Math.min(seen.read, seen.refused)).toBeGreaterThan(RUNS / 250);
	},
	TIMEOUT,
);

it.each([
	["deep", `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
	["of many tensors", `{${Array.from({ length: 50_000 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`).join(",")}}`],
	["of one long name", `{"${"\\\\".repeat(1_000_000)}":1}`],
	["of a million fields that are wrong", `{"a":{"dtype":"U8","shape":[${Array(1_000_000).fill('"x"').join(",")}],"data_offsets":[0,1]}}`],
	["without an end", `{"a":"${"x".repeat(1_000_000)}`],
])(
	"a header that is %s is read or refused in time",
	async (_, text) => {
		const json = Buffer.from(text);
		await outcome(() => parseHeader(json, 8 + json.length, file));
	},
	TIMEOUT,
);
