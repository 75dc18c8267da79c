/**
 * The rows of a tar shard, as WebDataset has them: members that stand together and share a name up to its first dot are one row.
 * `0007.json` is the row itself, `0007.0.jpg` and `0007.1.jpg` its pictures, `0007.txt` and `0007.cls` texts:
 *
 *   { …what the JSON says, "txt": "a red circle", "0.jpg": { path: "0007.0.jpg", bytes }, "1.jpg": … }
 *
 * Nothing is written where a member's name says; bytes stay bytes. Links and devices make their row a bad one. One row is in memory at a time.
 * Format: https://github.com/webdataset/webdataset#the-webdataset-format
 */
import { posix } from "node:path";
import { pipeline, Readable } from "node:stream";
import { extract, type Header } from "tar-stream";
import { DatasetError } from "./dataset-error.js";
import { type JsonRow, MAX_ROW_BYTES, parseJsonRow, tooLarge } from "./parse-json-row.js";
import { messageOf } from "./read-bytes.js";

/** A picture that came inside a data file. */
export interface EmbeddedFile {
	/** Its name there. */
	path: string;
	bytes: Uint8Array;
}

const BLOCK = 512;
const MARK = "ustar";
const MARK_AT = 257;
/** Bytes of a file that tell whether it is a tar archive. */
export const TAR_HEAD = MARK_AT + MARK.length;
const TEXTS = new Set(["txt", "cls"]);

export const isTar = (head: Buffer) => head.toString("latin1", MARK_AT, TAR_HEAD) === MARK;

/**
 * @param file the archive's name, for messages.
 * @param bytes its bytes.
 * @throws DatasetError for an archive that is cut off or damaged.
 */
export async function* readTarRows(file: string, bytes: AsyncGenerator<Buffer>): AsyncGenerator<JsonRow[]> {
	const archive = extract();
	// The callback only keeps pipeline from throwing by itself: an error destroys `archive`, whose loop below then throws it.
	pipeline(Readable.from(untilEnd(bytes)), archive, () => undefined);
	let row = 0;
	let sample: Sample | undefined;
	try {
		for await (const entry of archive) {
			if (entry.header.type === "directory") {
				entry.resume();
				continue;
			}
			const { key, field } = memberName(entry.header.name);
			if (sample && sample.key !== key) yield [sample.toRow(row++)];
			if (sample?.key !== key) sample = new Sample(key);
			await sample.add(field, entry);
		}
	} catch (cause) {
		if (cause instanceof DatasetError) throw cause;
		throw new DatasetError(file, `${file}: broken in or after row ${row}: ${messageOf(cause)}; is the archive complete?`, { row, cause });
	}
	if (sample) yield [sample.toRow(row)];
}

/** An archive ends with blocks of zeros; without them, one that was cut off between two members would look whole. */
async function* untilEnd(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
	let tail: Buffer = Buffer.alloc(0);
	for await (const block of bytes) {
		tail = block.length >= BLOCK ? block.subarray(-BLOCK) : Buffer.concat([tail, block]).subarray(-BLOCK);
		yield block;
	}
	if (tail.some((byte) => byte !== 0)) throw new Error("unexpected end of data");
}

/** `shard/0007.0.jpg` → `shard/0007` and `0.jpg`. */
function memberName(name: string): { key: string; field: string } {
	const base = posix.basename(name);
	const dot = base.indexOf(".", 1);
	const stem = dot < 0 ? base : base.slice(0, dot);
	return { key: posix.join(posix.dirname(name), stem), field: dot < 0 ? "" : base.slice(dot + 1) };
}

/** A member of the archive; to be read or passed over before the next one comes. */
type Member = AsyncIterable<unknown> & { header: Header; resume(): unknown };

/** Members of one name. */
class Sample {
	readonly #fields: Record<string, unknown> = {};
	#json: Buffer | undefined;
	#size = 0;
	#problem: ((row: number) => JsonRow) | undefined;

	constructor(readonly key: string) {}

	async add(field: string, entry: Member): Promise<void> {
		const { name, type, size } = entry.header;
		this.#size += size;
		if (type !== "file" && type !== "contiguous-file") {
			this.#problem ??= (row) => ({ row, kind: "not-a-file", expected: "files in the archive", got: `${name}, a ${type}` });
		} else if (this.#size > MAX_ROW_BYTES) {
			const total = this.#size;
			this.#problem ??= (row) => tooLarge(total, row);
		}
		if (this.#problem) {
			entry.resume();
			return;
		}
		const parts: Uint8Array[] = [];
		for await (const part of entry) if (part instanceof Uint8Array) parts.push(part);
		const bytes = Buffer.concat(parts);
		if (field === "json") this.#json = bytes;
		else this.#fields[field] = TEXTS.has(field) ? bytes.toString() : ({ path: name, bytes } satisfies EmbeddedFile);
	}

	toRow(row: number): JsonRow {
		if (this.#problem) return this.#problem(row);
		if (!this.#json) return { row, value: this.#fields };
		const parsed = parseJsonRow(this.#json, row);
		if ("kind" in parsed || typeof parsed.value !== "object" || Array.isArray(parsed.value)) return parsed;
		return { row, value: { ...this.#fields, ...parsed.value } };
	}
}
