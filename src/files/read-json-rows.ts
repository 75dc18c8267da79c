/**
 * The rows of a JSON array or of a JSON Lines file, one at a time, in constant memory. Which of the two it is, is read from
 * the first byte that is neither white space nor a byte-order mark: `[` or `{`.
 *
 * A reader would get wrong: bytes that are not UTF-8 are refused, never replaced (a replacement character in a caption
 * would be trained on). A bad line of JSON Lines spoils that row alone; a JSON array broken in the middle has no next row
 * to go on with, and ends the reading.
 */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline } from "node:stream";
import { TextDecoder } from "node:util";
import { DatasetError } from "./dataset-error.js";
import { type JsonRow, parseJsonRow } from "./parse-json-row.js";

export type { JsonRow } from "./parse-json-row.js";

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const LINE_FEED = 0x0a;
const BLOCK = 1 << 16;

/**
 * @returns rows in file order.
 * @throws DatasetError if the file can't be opened, holds neither an array nor lines of objects, or is a broken array.
 */
export async function* readJsonRows(file: string): AsyncGenerator<JsonRow> {
	const { kind, start } = await detect(file);
	yield* kind === "array" ? readArray(file, start) : readLines(file, start);
}

/** Fails as `readJsonRows` would on its first row, if the file is missing, empty or of neither kind. */
export async function checkJsonFile(file: string): Promise<void> {
	await detect(file);
}

async function detect(file: string): Promise<{ kind: "array" | "lines"; start: number }> {
	const handle = await openFile(file);
	try {
		const head = Buffer.alloc(BLOCK);
		let position = 0;
		for (;;) {
			const { bytesRead } = await handle.read(head, 0, BLOCK, position);
			if (bytesRead === 0) throw new DatasetError(file, `${file}: expected a JSON array or JSON Lines, got an empty file`);
			const skip = position === 0 && BYTE_ORDER_MARK.every((byte, i) => head[i] === byte) ? BYTE_ORDER_MARK.length : 0;
			const at = head.subarray(skip, bytesRead).findIndex((byte) => !WHITE_SPACE.has(byte));
			if (at >= 0) return { kind: kindOf(file, head[skip + at]), start: position + skip + at };
			position += bytesRead;
		}
	} catch (cause) {
		if (cause instanceof DatasetError) throw cause;
		throw new DatasetError(file, `${file}: can't be read: ${messageOf(cause)}`, { cause });
	} finally {
		await handle.close();
	}
}

async function openFile(file: string): Promise<FileHandle> {
	try {
		return await open(file, "r");
	} catch (cause) {
		throw new DatasetError(file, `${file}: can't be opened: ${messageOf(cause)}; check the path`, { cause });
	}
}

function kindOf(file: string, byte: number): "array" | "lines" {
	if (byte === 0x5b) return "array";
	if (byte === 0x7b) return "lines";
	const got = byte >= 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16).padStart(2, "0")}`;
	throw new DatasetError(file, `${file}: expected a JSON array ("[" first) or JSON Lines ("{" first), got ${got}`);
}

async function* readArray(file: string, start: number): AsyncGenerator<JsonRow> {
	// ES modules only: a static import would become a `require` in the CommonJS build, which Node 20 before 20.19 refuses.
	const { streamArray } = await import("stream-json/streamers/stream-array.js");
	const elements = streamArray.withParserAsStream({ streamValues: false });
	// The callback only keeps pipeline from throwing by itself: an error destroys `elements`, whose loop below then throws it.
	pipeline(createReadStream(file, { start, highWaterMark: BLOCK }), decodeUtf8, elements, () => undefined);
	let row = 0;
	try {
		for await (const { value } of elements as AsyncIterable<{ value: unknown }>) yield { row: row++, value };
	} catch (cause) {
		const message = `${file}: broken in or after record ${row}: ${messageOf(cause)}; is the file complete, and a JSON array in UTF-8?`;
		throw new DatasetError(file, message, { row, cause });
	}
}

async function* decodeUtf8(blocks: AsyncIterable<Buffer>): AsyncGenerator<string> {
	const decoder = new TextDecoder("utf-8", { fatal: true });
	for await (const block of blocks) yield decoder.decode(block, { stream: true });
	yield decoder.decode();
}

async function* readLines(file: string, start: number): AsyncGenerator<JsonRow> {
	let row = 0;
	for await (const line of splitLines(createReadStream(file, { start, highWaterMark: BLOCK }))) {
		if (line.every((byte) => WHITE_SPACE.has(byte))) continue;
		yield parseJsonRow(line, row++);
	}
}

/** Lines by their bytes, so that one line's broken encoding can't reach into the next. */
async function* splitLines(blocks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
	let parts: Buffer[] = [];
	for await (const block of blocks) {
		let from = 0;
		for (let end = block.indexOf(LINE_FEED); end >= 0; end = block.indexOf(LINE_FEED, from)) {
			yield Buffer.concat([...parts, block.subarray(from, end)]);
			parts = [];
			from = end + 1;
		}
		if (from < block.length) parts.push(block.subarray(from));
	}
	if (parts.length > 0) yield Buffer.concat(parts);
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
