/** Zstandard's frames, from a file that the reference library wrote (test/reference/make_sources.py): two frames with checksums. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readBytes } from "../../src/files/read-bytes.js";
import { readZstd } from "../../src/files/read-zstd.js";

const SOURCES = resolve("test/fixtures/sources/hpdv3");
let file: Buffer;
let content: string;
beforeAll(async () => {
	file = await readFile(`${SOURCES}/train.jsonl.zst`);
	const rows = JSON.parse(await readFile(`${SOURCES}/train.json`, "utf8")) as unknown[];
	content = rows.map((row) => `${pythonJson(row)}\n`).join("");
});

/** As Python writes it: a space behind each comma and colon. */
const pythonJson = (row: unknown) =>
	JSON.stringify(row, null, 1)
		.replace(/\n\s*/g, " ")
		.replace(/([[{]) /g, "$1")
		.replace(/ ([\]}])/g, "$1");

/** @param size of the blocks that the bytes come in */
async function read(bytes: Buffer, size = 1 << 16): Promise<string> {
	async function* blocks(): AsyncGenerator<Buffer> {
		for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
	}
	const parts: Buffer[] = [];
	for await (const part of readZstd(blocks())) parts.push(part);
	return Buffer.concat(parts).toString();
}

describe("Zstandard", () => {
	it("is read whatever blocks it comes in, frame after frame", async () => {
		for (const size of [1, 2, 3, 7, 100, 1 << 16]) expect(await read(file, size)).toBe(content);
		expect(await read(Buffer.concat([file, file]))).toBe(content + content);
		expect(await read(Buffer.alloc(0))).toBe("");
	});

	it("may have frames to be skipped, before, between and behind", async () => {
		const skipped = Buffer.concat([Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0]), Buffer.from("any")]);
		expect(await read(Buffer.concat([skipped, file, skipped, skipped, file, skipped]), 5)).toBe(content + content);
	});

	it("is known by a frame to be skipped, too", async () => {
		const folder = await mkdtemp(join(tmpdir(), "rft-zstd-"));
		const path = join(folder, "rows");
		await writeFile(path, Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]), file]));
		const parts: Buffer[] = [];
		for await (const part of readBytes(path)) parts.push(part);
		expect(Buffer.concat(parts).toString()).toBe(content);
		await rm(folder, { recursive: true });
	});

	it("has frames without a checksum, of raw and of repeated bytes, and empty ones", async () => {
		// Magic, descriptor (one segment, no checksum, 1 byte of size), size, then blocks: bit 0 the last, bits 1 and 2 the type, the rest the size.
		const frame = (size: number, ...blocks: number[]) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, size, ...blocks]);
		const raw = frame(2, (2 << 3) | 1, 0, 0, 0x68, 0x69);
		const repeated = frame(9, (4 << 3) | 2, 0, 0, 0x61, (5 << 3) | 3, 0, 0, 0x62);
		expect(await read(Buffer.concat([raw, repeated, frame(0, 1, 0, 0), raw]), 4)).toBe("hiaaaabbbbbhi");
	});

	it("is told to be damaged wherever a byte is changed that its content depends on", async () => {
		let told = 0;
		for (let at = 0; at < file.length; at++) {
			const changed = Buffer.from(file);
			changed[at] ^= 1;
			const found = await read(changed).catch((error: unknown) => error);
			if (found instanceof Error) told++;
			else expect(found).toBe(content);
		}
		expect(told).toBeGreaterThan(file.length * 0.95);
		const checksum = Buffer.from(file);
		checksum[file.length - 1] ^= 0x80;
		await expect(read(checksum)).rejects.toThrow(/^the content's checksum is [0-9a-f]{8}, expected [0-9a-f]{8}: the data is damaged$/);
	});

	it("is told to end too early wherever it is cut, but between frames", async () => {
		const first = file.indexOf(file.subarray(0, 4), 4);
		for (let end = 1; end < file.length; end++) {
			if (end === first) expect(content.startsWith(await read(file.subarray(0, end)))).toBe(true);
			else await expect(read(file.subarray(0, end))).rejects.toThrow("unexpected end of file");
		}
		await expect(read(Buffer.concat([file, Buffer.from("text")]))).rejects.toThrow("expected a Zstandard frame, got bytes 0x74786574");
	});
});
