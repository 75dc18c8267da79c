/** A journal's bytes as lines, each with its place, its damage found but not judged: what that means differs for who continues, merges or looks. */
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { JournalError } from "./journal-error.js";
import { damageOf, type JournalHeader, keyOfLine, parseHeader } from "./journal-line.js";

/** A line; `number` counts from 1, the header's. `end` is the offset after its line feed. */
export interface ScannedLine {
	number: number;
	offset: number;
	end: number;
	/** Without the line feed; empty for a line over `MAX_LINE`. */
	bytes: Buffer;
	/** Set where the line is whole. */
	key?: string;
	/** Set where it is not. */
	damage?: string;
}

/** A longer line is none that was written here. */
const MAX_LINE = 64 * 2 ** 20;
const BLOCK = 1 << 18;
const LINE_FEED = 0x0a;
/** Most lines of a journal are shorter. */
const READ_BLOCK = 8192;

/** @returns the header, or why it is none; undefined for an empty file. @throws JournalError `unreadable` */
export async function scanHeader(file: string): Promise<JournalHeader | string | undefined> {
	for await (const { bytes, ended } of splitLines(file)) {
		return ended ? parseHeader(bytes) : "it is cut: no line feed ends it";
	}
	return undefined;
}

/** All lines after the header. */
export async function* scanEntries(file: string): AsyncGenerator<ScannedLine> {
	for await (const { ended, ...line } of splitLines(file)) {
		if (line.number === 1) continue;
		const damage = ended ? damageOf(line.bytes) : "it is cut: no line feed ends it";
		const key = damage === undefined ? keyOfLine(line.bytes) : undefined;
		yield key === undefined ? { ...line, damage: damage ?? "it has no key" } : { ...line, key };
	}
}

/** "line 17 (bytes 30211 to 31877): its checksum is …" */
export function describeDamage({ number, offset, end, damage }: ScannedLine): string {
	return `line ${number} (bytes ${offset} to ${end}): ${damage}`;
}

/** One line, without its line feed. */
export async function readLineAt(handle: FileHandle, offset: number): Promise<Buffer> {
	const blocks: Buffer[] = [];
	for (let at = offset; ; ) {
		const block = Buffer.allocUnsafe(READ_BLOCK);
		const { bytesRead } = await handle.read(block, 0, READ_BLOCK, at);
		const feed = block.subarray(0, bytesRead).indexOf(LINE_FEED);
		blocks.push(block.subarray(0, feed >= 0 ? feed : bytesRead));
		if (feed >= 0 || bytesRead === 0) return Buffer.concat(blocks);
		at += bytesRead;
	}
}

type SplitLine = Pick<ScannedLine, "number" | "offset" | "end" | "bytes"> & { ended: boolean };

async function* splitLines(file: string): AsyncGenerator<SplitLine> {
	let parts: Buffer[] = [];
	let [number, offset, length] = [1, 0, 0];
	const keep = (part: Buffer) => {
		length += part.length;
		if (length > MAX_LINE) parts = [];
		else parts.push(part);
	};
	for await (const block of blocksOf(file)) {
		let from = 0;
		for (let feed = block.indexOf(LINE_FEED); feed >= 0; feed = block.indexOf(LINE_FEED, from)) {
			keep(block.subarray(from, feed));
			const end = offset + length + 1;
			yield { number: number++, offset, end, bytes: parts.length === 1 ? parts[0] : Buffer.concat(parts), ended: true };
			[parts, offset, length, from] = [[], end, 0, feed + 1];
		}
		if (from < block.length) keep(block.subarray(from));
	}
	if (length > 0) yield { number, offset, end: offset + length, bytes: Buffer.concat(parts), ended: false };
}

async function* blocksOf(file: string): AsyncGenerator<Buffer> {
	try {
		yield* createReadStream(file, { highWaterMark: BLOCK }) as AsyncIterable<Buffer>;
	} catch (cause) {
		throw new JournalError("unreadable", `${file}: can't be read: ${(cause as Error).message}; check the path`, { cause });
	}
}
