/** The forms of data files, from the fixtures that other programs wrote (test/reference/make_sources.py), and what becomes of broken ones. */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { describe, expect, it } from "vitest";
import { DatasetError } from "../../src/files/dataset-error.js";
import type { JsonRow } from "../../src/files/parse-json-row.js";
import { checkDataFile, readRows } from "../../src/files/read-rows.js";
import { collect, temporaryFolder } from "../dataset/hpdv3-folder.js";

const SOURCES = resolve("test/fixtures/sources");
const rowsOf = (name: string) => collect(readRows(join(SOURCES, name)));
const png = (shade: number) => readFile(join(SOURCES, `hpdv3/images/${shade}.png`));

async function fileOf(bytes: Uint8Array | string, name = "rows"): Promise<string> {
	const file = join(await temporaryFolder(), name);
	await writeFile(file, bytes);
	return file;
}

describe("the same rows", () => {
	it.each([
		"train.json.gz",
		"train.jsonl.zst", // two frames
		...["snappy", "gzip", "zstd", "brotli", "none"].map((codec) => `train.${codec}.parquet`),
	])("from %s as from JSON", async (name) => {
		expect(await rowsOf(`hpdv3/${name}`)).toEqual(await rowsOf("hpdv3/train.json"));
	});

	it("whatever the file is called, with a byte-order mark, and from several gzip members", async () => {
		const text = '\ufeff{"a":1}\n';
		const members = Buffer.concat([gzipSync(text), gzipSync('{"a":2}\n')]);
		expect(await collect(readRows(await fileOf(members, "rows.parquet")))).toEqual([
			{ row: 0, value: { a: 1 } },
			{ row: 1, value: { a: 2 } },
		]);
	});
});

describe("Parquet", () => {
	it("has bytes as bytes, 64-bit numbers as numbers, and rows counted over row groups", async () => {
		const rows = await rowsOf("genai_bench/ratings.parquet");
		expect(rows).toMatchObject([{ row: 0, value: { Index: 1, HumanRatings: { DALLE_3: [5, 4, 4] }, DALLE_3: { path: "10.png" } } }]);
		const [{ value }] = rows as { value: { DALLE_3: { bytes: Uint8Array } } }[];
		expect(Buffer.from(value.DALLE_3.bytes)).toEqual(await png(10));
		expect((await rowsOf("genai_bench/votes.parquet")).map(({ row }) => row)).toEqual([0, 1, 2, 3]);
	});
});

async function tarOf(members: { name: string; type?: "symlink"; linkname?: string; data?: string | Buffer }[]): Promise<Buffer> {
	const archive = pack();
	for (const { data = "", ...header } of members) archive.entry(header, data);
	archive.finalize();
	const parts: Buffer[] = [];
	for await (const part of archive) parts.push(Buffer.from(part as Uint8Array));
	return Buffer.concat(parts);
}

describe("tar shards", () => {
	it("have a row for each name, its JSON with the other members as fields; plain or compressed", async () => {
		const rows = [...(await rowsOf("shards/pairs-000.tar")), ...(await rowsOf("shards/pairs-001.tar.gz"))];
		expect(rows).toMatchObject(
			[0, 1, 2, 3].map((i) => ({
				row: i % 2,
				value: {
					prompt: `number ${i}`,
					txt: `text ${i}`,
					"0.png": { path: `shard/000${i}.0.png` },
					"1.png": { path: `shard/000${i}.1.png` },
				},
			})),
		);
	});

	it("tell links, JSON that is none, and go on", async () => {
		const members = [
			{ name: "a/", type: undefined },
			{ name: "1.json", data: '{"prompt":"p"}' },
			{ name: "1.jpg", type: "symlink", linkname: "/etc/passwd" } as const,
			{ name: "2.json", data: "{" },
			{ name: "3.json", data: '{"prompt":"q"}' },
		];
		const rows = await collect(readRows(await fileOf(await tarOf(members.slice(1)))));
		expect(rows).toMatchObject([
			{ row: 0, kind: "not-a-file", expected: "files in the archive", got: "1.jpg, a symlink" },
			{ row: 1, kind: "not-json" },
			{ row: 2, value: { prompt: "q" } },
		]);
	});
});

describe("a broken file is an error that names it", () => {
	const cut = async (name: string, share: number) => {
		const bytes = await readFile(join(SOURCES, name));
		return bytes.subarray(0, Math.floor(bytes.length * share));
	};

	it.each([
		["hpdv3/train.json.gz", 0.8, /can't be read: unexpected end of file; is the file complete\?/],
		["hpdv3/train.jsonl.zst", 0.9, /can't be read: .*; is the file complete\?/],
		["hpdv3/train.snappy.parquet", 0.9, /expected a Parquet file, got one without its end: .*; is it complete\?/],
		["shards/pairs-000.tar", 0.3, /broken in or after row \d+: .*; is the archive complete\?/],
	])("%s cut off at %d", async (name, share, message) => {
		const file = await fileOf(await cut(name, share));
		const failure = await collect(readRows(file)).catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(DatasetError);
		expect(failure).toMatchObject({ file, message: expect.stringMatching(message) });
	});

	it("also where it is only checked, and a whole one is not", async () => {
		for (const name of ["hpdv3/train.json.gz", "hpdv3/train.jsonl.zst", "hpdv3/train.zstd.parquet", "shards/pairs-000.tar"]) {
			await checkDataFile(join(SOURCES, name));
		}
		await expect(checkDataFile(await fileOf("prompt,path1\n"))).rejects.toThrow(
			/expected a JSON array .*Parquet or a tar archive.*, got "p"/,
		);
		await expect(checkDataFile(await fileOf(gzipSync("  ")))).rejects.toThrow(/got an empty file/);
	});
});

describe("back-pressure", () => {
	it("reads a compressed file no further than its rows are taken", async () => {
		const line = `${JSON.stringify({ text: "x".repeat(1000) })}\n`;
		const file = await fileOf(gzipSync(line.repeat(50_000))); // 50 MB, were it read at once
		const rows: AsyncIterator<JsonRow> = readRows(file);
		const before = process.memoryUsage().rss;
		for (let i = 0; i < 10; i++) expect((await rows.next()).value).toMatchObject({ row: i });
		await new Promise((resolve) => setTimeout(resolve, 50));
		expect(process.memoryUsage().rss - before).toBeLessThan(25e6);
		await rows.return?.();
	});
});
