/**
 * The rows of a JSON array or of a JSON Lines file, one at a time, in constant memory. Which of the two it is, is read from
 * the first byte that is neither white space nor a byte-order mark: `[` or `{`. Files may be compressed, see read-bytes.
 *
 * A reader would get wrong: bytes that are not UTF-8 are refused, never replaced (a replacement character in a caption
 * would be trained on). A bad line of JSON Lines, or a bad element of an array whose brackets and quotes pair, spoils that row alone; an array
 * in which they do not has no next row to go on with, and ends the reading.
 */
import { DatasetError } from "./dataset-error.js";
import { eachOfGroups } from "./each-of-groups.js";
import { BrokenElement, JsonArrayReader } from "./json-array-reader.js";
import { type JsonRow, MAX_ROW_BYTES, parseJsonRow, tooLarge } from "./parse-json-row.js";
import { peek, readBytes } from "./read-bytes.js";
import { isBlank } from "./split-json-array.js";

export type { JsonRow } from "./parse-json-row.js";

const LINE_FEED = 0x0a;
const [ARRAY, OBJECT] = [0x5b, 0x7b];

/**
 * @returns rows in file order.
 * @throws DatasetError if the file can't be opened, holds neither an array nor lines of objects, or is a broken array.
 */
export function readJsonRows(file: string): AsyncIterableIterator<JsonRow, undefined, undefined> {
	return eachOfGroups(parseJsonRows(file, readBytes(file)));
}

/**
 * As `readJsonRows`, from bytes already open, and rows in groups.
 * @param file its name, for messages.
 */
export async function* parseJsonRows(file: string, bytes: AsyncGenerator<Buffer>): AsyncGenerator<JsonRow[]> {
	const { kind, blocks } = await detect(file, bytes);
	yield* kind === "array" ? readArray(file, blocks) : readLines(blocks);
}

/** Fails as `readJsonRows` would on its first row, if the file is missing, empty or of neither kind. */
export async function checkJsonBytes(file: string, bytes: AsyncGenerator<Buffer>): Promise<void> {
	const { blocks } = await detect(file, bytes);
	await blocks.return(undefined);
}

/** @returns blocks that begin with the first row, or behind the array's bracket. */
async function detect(file: string, bytes: AsyncGenerator<Buffer>): Promise<{ kind: "array" | "lines"; blocks: AsyncGenerator<Buffer> }> {
	for (;;) {
		const { head, blocks } = await peek(bytes, 1);
		if (head.length === 0) throw new DatasetError(file, `${file}: expected a JSON array or JSON Lines, got an empty file`);
		if (isBlank(head)) {
			await blocks.next();
			continue;
		}
		const at = head.findIndex((_, i) => !isBlank(head.subarray(i, i + 1)));
		const kind = kindOf(file, head[at]);
		return { kind, blocks: skip(blocks, kind === "array" ? at + 1 : at) };
	}
}

async function* skip(blocks: AsyncGenerator<Buffer>, count: number): AsyncGenerator<Buffer> {
	let left = count;
	for await (const block of blocks) {
		yield left === 0 ? block : block.subarray(left);
		left = 0;
	}
}

function kindOf(file: string, byte: number): "array" | "lines" {
	if (byte === ARRAY) return "array";
	if (byte === OBJECT) return "lines";
	const got = byte >= 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16).padStart(2, "0")}`;
	throw new DatasetError(
		file,
		`${file}: expected a JSON array ("[" first), JSON Lines ("{" first), Parquet or a tar archive, plain or as gzip or Zstandard, got ${got}`,
	);
}

async function* readArray(file: string, blocks: AsyncIterable<Buffer>): AsyncGenerator<JsonRow[]> {
	const reader = new JsonArrayReader();
	let row = 0;
	const numbered = (values: unknown[]): JsonRow[] =>
		values.map((value) => (value instanceof BrokenElement ? parseJsonRow(value.bytes, row++) : { row: row++, value }));
	try {
		for await (const block of blocks) for (const values of reader.push(block)) yield numbered(values);
		for (const values of reader.end()) yield numbered(values);
	} catch (cause) {
		if (!(cause instanceof SyntaxError)) throw cause;
		const message = `${file}: broken in or after record ${row}: ${cause.message}; is the file complete, and a JSON array in UTF-8?`;
		throw new DatasetError(file, message, { row, cause });
	}
}

async function* readLines(blocks: AsyncIterable<Buffer>): AsyncGenerator<JsonRow[]> {
	let row = 0;
	for await (const lines of splitLines(blocks)) {
		const rows: JsonRow[] = [];
		for (const line of lines) {
			if (typeof line === "number") rows.push(tooLarge(line, row++));
			else if (!isBlank(line)) rows.push(parseJsonRow(line, row++));
		}
		yield rows;
	}
}

/** Lines by their bytes, so that one line's broken encoding can't reach into the next; those of one block together. Of a line that is too large, its length. */
async function* splitLines(blocks: AsyncIterable<Buffer>): AsyncGenerator<(Buffer | number)[]> {
	let parts: Buffer[] = [];
	let length = 0;
	const finish = (end: Buffer): Buffer | number => {
		length += end.length;
		const line = length > MAX_ROW_BYTES ? length : parts.length === 0 ? end : Buffer.concat([...parts, end]);
		[parts, length] = [[], 0];
		return line;
	};
	for await (const block of blocks) {
		const lines: (Buffer | number)[] = [];
		let from = 0;
		for (let end = block.indexOf(LINE_FEED); end >= 0; end = block.indexOf(LINE_FEED, from)) {
			lines.push(finish(block.subarray(from, end)));
			from = end + 1;
		}
		length += block.length - from;
		if (length > MAX_ROW_BYTES) parts = [];
		else if (from < block.length) parts.push(block.subarray(from));
		yield lines;
	}
	if (length > MAX_ROW_BYTES) yield [length];
	else if (parts.length > 0) yield [Buffer.concat(parts)];
}
