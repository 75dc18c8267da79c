/** Shards, weights, folders and patterns: what is read is always all, once, and the same again. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { contentHash } from "../../src/dataset/content-hash.js";
import { interleave } from "../../src/dataset/interleave.js";
import { loadDataset } from "../../src/dataset/load-dataset.js";
import { inShard, parseShard } from "../../src/dataset/shard.js";
import { DatasetError } from "../../src/files/dataset-error.js";
import { collect, hpdv3Folder, pairs } from "./hpdv3-folder.js";

async function* from<T>(items: T[]): AsyncGenerator<T> {
	yield* items;
}

describe("shards", () => {
	it("of any keys are disjoint and complete, and even", () => {
		fc.assert(
			fc.property(fc.array(fc.string(), { maxLength: 50 }), fc.integer({ min: 1, max: 12 }), (texts, count) => {
				const keys = texts.map((text) => contentHash(text).toString("hex").slice(0, 16));
				const shards = Array.from({ length: count }, (_, i) => parseShard(`${i + 1}/${count}`));
				for (const key of keys) expect(shards.filter((shard) => inShard(key, shard))).toHaveLength(1);
			}),
		);
		const thirds = [0, 0, 0];
		for (let i = 0; i < 3000; i++) thirds[[0, 1, 2].findIndex((index) => inShard(contentHash(i).toString("hex"), { index, count: 3 }))]++;
		for (const size of thirds) expect(Math.abs(size - 1000)).toBeLessThan(150); // 1000 ± 26
	});

	it("have each record in one, wherever it stands, and each bad row in one", async () => {
		const rows = [...pairs(40), { prompt: 7 }, {}];
		const { source } = await hpdv3Folder(rows);
		const backwards = await hpdv3Folder([...rows].reverse());
		const bad: number[] = [];
		const keysOf = async (from: string, shard?: `${number}/${number}`) => {
			const records = loadDataset(from, { shard, onBadRow: ({ row }) => from === source && bad.push(row) });
			return (await collect(records)).map(({ key }) => key);
		};
		const all = await keysOf(source);
		bad.length = 0;
		const parts = [await keysOf(source, "1/3"), await keysOf(source, "2/3"), await keysOf(source, "3/3")];
		expect(parts.flat().sort()).toEqual([...all].sort());
		expect(bad.sort()).toEqual([40, 41]);
		for (const [i, part] of parts.entries()) expect((await keysOf(backwards.source, `${i + 1}/3` as "1/3")).reverse()).toEqual(part);
	});

	it.each(["0/4", "5/4", "1", "1/0", "a/b", "1.5/2"])("refuses %s", async (shard) => {
		expect(() => loadDataset("hpdv3:x", { shard: shard as "1/2" })).toThrow(/shard: expected i\/n with i from 1 to n/);
	});
});

describe("interleaving", () => {
	it("keeps every item and each stream's order, whatever the weights", async () => {
		await fc.assert(
			fc.asyncProperty(
				fc.array(fc.record({ length: fc.nat(20), weight: fc.double({ min: 0.01, max: 100, noNaN: true }) }), { maxLength: 5 }),
				fc.integer(),
				async (streams, seed) => {
					const made = () =>
						streams.map(({ length, weight }, s) => ({ items: from(Array.from({ length }, (_, i) => [s, i] as const)), weight }));
					const mixed = await collect(interleave(made(), seed));
					for (const [s, { length }] of streams.entries()) {
						expect(mixed.filter(([stream]) => stream === s).map(([, i]) => i)).toEqual(Array.from({ length }, (_, i) => i));
					}
					expect(await collect(interleave(made(), seed))).toEqual(mixed);
				},
			),
			{ numRuns: 50 },
		);
	});

	it("draws by weight", async () => {
		const streams = [0.7, 0.3].map((weight, s) => ({ items: from(Array.from({ length: 2000 }, () => s)), weight }));
		const first = (await collect(interleave(streams, 1))).slice(0, 2000);
		const share = first.filter((stream) => stream === 0).length / first.length;
		expect(Math.abs(share - 0.7)).toBeLessThan(0.05); // 0.7 ± 0.01
	});

	it("mixes weighted sources by the seed, reads no further than it must, and closes what it leaves", async () => {
		const [a, b] = [await hpdv3Folder(pairs(60)), await hpdv3Folder(pairs(20).map((row) => ({ ...row, path1: "b.png" })))];
		const sources = [`${a.source}@3`, `${b.source}@1`];
		const files = async (seed: number, limit?: number) =>
			(await collect(loadDataset(sources, { seed, limit }))).map(({ source: { file, row } }) => `${file === a.file ? "a" : "b"}${row}`);
		const mixed = await files(1);
		expect(mixed).toHaveLength(80);
		expect(await files(1)).toEqual(mixed);
		expect(await files(1, 7)).toEqual(mixed.slice(0, 7));
		expect(await files(2)).not.toEqual(mixed);
	});
});

describe("a path", () => {
	it("is a folder of shards, by name, or a pattern; the order is that of the names", async () => {
		const { folder } = await hpdv3Folder([]);
		await mkdir(join(folder, "shards", "more"), { recursive: true });
		const rows = pairs(4).map((row) => JSON.stringify([row]));
		for (const [i, name] of ["b.json", "a.jsonl", "more/c.json", "d[1].json"].entries()) {
			await writeFile(join(folder, "shards", name), name.endsWith("l") ? rows[i].slice(1, -1) : rows[i]);
		}
		await writeFile(join(folder, "shards", "notes.txt"), "no data");
		const prompts = async (path: string) =>
			(await collect(loadDataset(`hpdv3:${join(folder, path)}`, { imageRoot: folder }))).map(({ prompt }) => prompt.at(-1));
		expect(await prompts("shards")).toEqual(["1", "0", "3", "2"]);
		expect(await prompts("shards/*.json")).toEqual(["0", "3"]);
		expect(await prompts("shards/**/{c,a}.json*")).toEqual(["1", "2"]);
		expect(await prompts("shards/d[1].json")).toEqual(["3"]);
	});

	it.each([
		["none-*.json", /expected a file, or a pattern that matches some, got no such file/],
		["empty", /expected a folder with data files/],
		["none.json", /can't be opened: ENOENT/],
	])("that leads to nothing is an error: %s", async (path, message) => {
		const { folder } = await hpdv3Folder([]);
		await mkdir(join(folder, "empty"));
		const failure = await collect(loadDataset(`hpdv3:${join(folder, path)}`)).catch((error: unknown) => error);
		expect(failure).toBeInstanceOf(DatasetError);
		expect(failure).toMatchObject({ message: expect.stringMatching(message) });
	});
});
