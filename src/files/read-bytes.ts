/**
 * A data file as blocks of plain bytes: gzip and Zstandard are undone on the way, known by their first bytes and not by the name.
 * Blocks are read when they are asked for, so a slow consumer holds the disk back.
 */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { DatasetError } from "./dataset-error.js";
import { readZstd } from "./read-zstd.js";

const BLOCK = 1 << 18;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const GZIP = [0x1f, 0x8b];
const ZSTANDARD = [0x28, 0xb5, 0x2f, 0xfd];
/** Of a frame that holds no data and may come first: 0x50 to 0x5f, and these. */
const SKIPPABLE = [0x2a, 0x4d, 0x18];

/** Whether `head` begins with these bytes. */
export const startsWith = (head: Uint8Array, bytes: readonly number[]) => bytes.every((byte, i) => head[i] === byte);

const isZstandard = (head: Uint8Array) => startsWith(head, ZSTANDARD) || (head[0] >> 4 === 5 && startsWith(head.subarray(1), SKIPPABLE));

/** The first bytes of a file as they stand on the disk. @throws DatasetError if it can't be read. */
export async function readHead(file: string, length: number): Promise<Buffer> {
	const handle = await openFile(file);
	try {
		const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
		return buffer.subarray(0, bytesRead);
	} catch (cause) {
		throw unreadable(file, cause);
	} finally {
		await handle.close();
	}
}

/**
 * @returns the file's bytes, uncompressed, without a byte-order mark, in blocks that are not empty.
 * @throws DatasetError if the file can't be read, or its compressed data is damaged or cut off.
 */
export async function* readBytes(file: string): AsyncGenerator<Buffer> {
	const head = await readHead(file, ZSTANDARD.length);
	const blocks = startsWith(head, GZIP) ? gunzip(file) : isZstandard(head) ? readZstd(readBlocks(file)) : readBlocks(file);
	let first = true;
	try {
		for await (const block of blocks) {
			if (block.length === 0) continue;
			yield first && startsWith(block, BYTE_ORDER_MARK) ? block.subarray(BYTE_ORDER_MARK.length) : block;
			first = false;
		}
	} catch (cause) {
		throw cause instanceof DatasetError ? cause : unreadable(file, cause);
	}
}

/** The blocks again, with the first at least `length` bytes long where the file is. */
export async function peek(blocks: AsyncGenerator<Buffer>, length: number): Promise<{ head: Buffer; blocks: AsyncGenerator<Buffer> }> {
	let head: Buffer = Buffer.alloc(0);
	while (head.length < length) {
		const next = await blocks.next();
		if (next.done) break;
		head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
	}
	return { head, blocks: chain(head, blocks) };
}

async function* chain(head: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
	try {
		if (head.length > 0) yield head;
		yield* rest;
	} finally {
		await rest.return(undefined); // also where the head was all that was asked for
	}
}

async function openFile(file: string): Promise<FileHandle> {
	try {
		return await open(file, "r");
	} catch (cause) {
		throw new DatasetError(file, `${file}: can't be opened: ${messageOf(cause)}; check the path`, { cause });
	}
}

const readBlocks = (file: string): AsyncIterable<Buffer> => createReadStream(file, { highWaterMark: BLOCK });

function gunzip(file: string): AsyncIterable<Buffer> {
	// The callback only keeps pipeline from throwing by itself: an error destroys the last stream, whose loop then throws it.
	return pipeline(createReadStream(file, { highWaterMark: BLOCK }), createGunzip({ chunkSize: BLOCK }), () => undefined);
}

function unreadable(file: string, cause: unknown): DatasetError {
	return new DatasetError(file, `${file}: can't be read: ${messageOf(cause)}; is the file complete?`, { cause });
}

export function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
