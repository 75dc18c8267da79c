/**
 * A safetensors header, read with distrust: a checkpoint is a file from the network.
 * The format: 8 bytes of little-endian header length, that many bytes of JSON, then the tensors back to back.
 * Refused, as the reference implementation refuses it: a header above 100 MB or beyond the file, unknown types, a byte count that
 * is not shape × type, tensors that overlap, leave holes or run past the file. Refused beside: keys that occur twice
 * (JSON.parse would keep the last) and `__proto__`.
 * Follows the format page of huggingface/safetensors, "Format", and `Metadata::validate` in its tensor.rs.
 */
import { z } from "zod";
import { DTYPE_BYTES, type SafetensorsDtype } from "./dtype.js";

/** Where a tensor lies in its file. */
export interface TensorEntry {
	name: string;
	dtype: SafetensorsDtype;
	shape: number[];
	/** Bytes from the start of the file. */
	offset: number;
	/** Bytes. */
	length: number;
}

/** The reference implementation's bound on a header. */
export const MAX_HEADER_BYTES = 100_000_000;

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const entrySchema = z.strictObject({
	dtype: z.enum(Object.keys(DTYPE_BYTES) as [SafetensorsDtype, ...SafetensorsDtype[]]),
	shape: z.array(count).max(64),
	data_offsets: z.tuple([count, count]),
});
const metadataSchema = z.record(z.string(), z.string());

/** The parsed header: entries in file order. */
export interface SafetensorsHeader {
	entries: TensorEntry[];
	metadata: Record<string, string>;
}

/**
 * @param json the header's bytes, without the length in front
 * @param fileBytes the size of the whole file
 * @param file names the file in errors
 * @throws Error that names the file, the tensor, what was expected and what was there.
 */
export function parseHeader(json: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
	const fail = (what: string, cause?: unknown): never => {
		throw new Error(`${file}: ${what}; the file is damaged or not safetensors, fetch it again`, { cause });
	};
	const raw = parseObject(json, fail);
	const entries: TensorEntry[] = [];
	let metadata: Record<string, string> = {};
	const dataStart = 8 + json.byteLength;
	for (const [name, value] of Object.entries(raw)) {
		if (name === "__metadata__") {
			const parsed = metadataSchema.safeParse(value);
			metadata = parsed.success ? parsed.data : fail(`__metadata__ is not an object of strings: ${z.prettifyError(parsed.error)}`);
		} else entries.push(parseEntry(name, value, dataStart, fail));
	}
	entries.sort((a, b) => a.offset - b.offset || a.length - b.length);
	checkLayout(entries, dataStart, fileBytes, fail);
	return { entries, metadata };
}

type Fail = (what: string, cause?: unknown) => never;

function parseObject(json: Uint8Array, fail: Fail): Record<string, unknown> {
	let text: string;
	let value: unknown;
	try {
		text = new TextDecoder("utf-8", { fatal: true }).decode(json);
		value = JSON.parse(text);
	} catch (cause) {
		return fail(`header is not JSON (${cause instanceof Error ? cause.message : cause})`, cause);
	}
	if (typeof value !== "object" || value === null || Array.isArray(value)) return fail("header is not a JSON object");
	const seen = new Set<string>();
	for (const key of topLevelKeys(text)) {
		if (key === "__proto__") fail("header has a tensor named __proto__");
		if (seen.has(key)) fail(`header names tensor ${JSON.stringify(key)} twice`);
		seen.add(key);
	}
	return value as Record<string, unknown>; // an object, shown above; its values are checked one by one
}

/** The keys of the outermost object of valid JSON, repeated ones repeated. */
function* topLevelKeys(text: string): Generator<string> {
	const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g;
	let depth = 0;
	let last = "";
	for (const [token] of text.matchAll(tokens)) {
		if (token === "{" || token === "[") depth++;
		else if (token === "}" || token === "]") depth--;
		else if (token === ":" && depth === 1) yield JSON.parse(last) as string; // a JSON string literal
		last = token;
	}
}

function parseEntry(name: string, value: unknown, dataStart: number, fail: Fail): TensorEntry {
	const parsed = entrySchema.safeParse(value);
	if (!parsed.success) return fail(`tensor ${JSON.stringify(name)}: ${z.prettifyError(parsed.error)}`);
	const { dtype, shape, data_offsets: offsets } = parsed.data;
	const length = shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
	const [begin, end] = offsets;
	if (end - begin !== length) {
		fail(`tensor ${JSON.stringify(name)}: [${shape}] of ${dtype} is ${length} bytes, its offsets ${begin}..${end} hold ${end - begin}`);
	}
	return { name, dtype, shape, offset: dataStart + begin, length };
}

/** Tensors must follow one another from the header to the end of the file. */
function checkLayout(entries: TensorEntry[], dataStart: number, fileBytes: number, fail: Fail): void {
	let at = dataStart;
	for (const { name, offset, length } of entries) {
		if (offset !== at)
			fail(`tensor ${JSON.stringify(name)} begins at byte ${offset}, expected ${at}: ${offset < at ? "tensors overlap" : "a hole"}`);
		at = offset + length;
		if (at > fileBytes) fail(`tensor ${JSON.stringify(name)} ends at byte ${at}, the file at ${fileBytes}`);
	}
	if (at !== fileBytes) fail(`tensors end at byte ${at}, the file at ${fileBytes}`);
}
