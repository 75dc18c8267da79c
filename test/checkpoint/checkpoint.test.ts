import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { writeCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import type { TensorSource } from "../../src/checkpoint/write-safetensors.js";

let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "checkpoint-"));
});
afterEach(() => rm(dir, { recursive: true }));

const tensor = (name: string, bytes: number): TensorSource => ({
	name,
	dtype: "U8",
	shape: [bytes],
	data: () => new Uint8Array(bytes).fill(name.charCodeAt(0)),
});
const tensors = [tensor("a", 4), tensor("b", 4), tensor("c", 9), tensor("d", 2)];

async function contents(checkpoint: Checkpoint): Promise<Record<string, string>> {
	const out: Record<string, string> = {};
	for (const name of checkpoint.names().sort()) out[name] = Buffer.from(await checkpoint.read(name)).toString();
	await checkpoint.close();
	return out;
}
const EXPECTED = { a: "aaaa", b: "bbbb", c: "ccccccccc", d: "dd" };

describe("a checkpoint folder", () => {
	it("is one file where it fits", async () => {
		await writeCheckpoint(dir, tensors);
		expect(await readdir(dir)).toEqual(["model.safetensors"]);
		expect(await contents(await openCheckpoint(dir))).toEqual(EXPECTED);
	});

	it("is shards and their index where it does not, with a tensor above the bound alone", async () => {
		await writeCheckpoint(dir, tensors, { maxShardBytes: 8 });
		const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`);
		expect((await readdir(dir)).sort()).toEqual([...shards, "model.safetensors.index.json"]);
		expect(JSON.parse(await readFile(join(dir, "model.safetensors.index.json"), "utf8"))).toEqual({
			metadata: { total_size: 19 },
			weight_map: { a: shards[0], b: shards[0], c: shards[1], d: shards[2] },
		});
		const checkpoint = await openCheckpoint(dir);
		expect(checkpoint.entry("c")).toMatchObject({ name: "c", dtype: "U8", shape: [9], length: 9 });
		expect(() => checkpoint.entry("x")).toThrow(/no tensor "x" among the checkpoint's 4/);
		await expect(checkpoint.read("x")).rejects.toThrow(/no tensor "x"/);
		expect(await contents(checkpoint)).toEqual(EXPECTED);
	});

	it("holds the last save only, and no other file is touched", async () => {
		await writeFile(join(dir, "config.json"), "{}");
		await writeCheckpoint(dir, tensors, { maxShardBytes: 4 });
		await writeCheckpoint(dir, tensors, { maxShardBytes: 8 });
		await writeCheckpoint(dir, tensors);
		expect((await readdir(dir)).sort()).toEqual(["config.json", "model.safetensors"]);
		await writeCheckpoint(dir, tensors, { maxShardBytes: 8 });
		expect((await readdir(dir)).filter((name) => name === "model.safetensors")).toEqual([]);
		expect(await contents(await openCheckpoint(dir))).toEqual(EXPECTED);
	});

	it("can be rewritten from itself", async () => {
		await writeCheckpoint(dir, tensors);
		const checkpoint = await openCheckpoint(dir);
		await writeCheckpoint(
			dir,
			checkpoint.names().map((name) => ({ ...checkpoint.entry(name), data: () => checkpoint.read(name) })),
		);
		await checkpoint.close();
		expect(await contents(await openCheckpoint(dir))).toEqual(EXPECTED);
	});
});

describe("openCheckpoint refuses", () => {
	const index = (map: unknown) => writeFile(join(dir, "model.safetensors.index.json"), JSON.stringify(map));

	it("a folder without weights", () =>
		expect(openCheckpoint(dir)).rejects.toThrow(/neither model.safetensors nor model.safetensors.index.json/));

	it.each(["../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "a\\model.safetensors", "model.bin"])(
		"shard name %s",
		async (name) => {
			await index({ weight_map: { a: name } });
			await expect(openCheckpoint(dir)).rejects.toThrow(/expected the name of a .safetensors file in the same folder/);
		},
	);

	it("a missing shard, and an index that names what its shard lacks", async () => {
		await writeCheckpoint(dir, tensors, { maxShardBytes: 8 });
		const { weight_map: map } = JSON.parse(await readFile(join(dir, "model.safetensors.index.json"), "utf8"));
		await index({ weight_map: { ...map, e: map.a } });
		await expect(openCheckpoint(dir)).rejects.toThrow(/puts e into model-00001-of-00003.safetensors, which lacks it/);
		await rm(join(dir, map.c));
		await expect(openCheckpoint(dir)).rejects.toThrow(/shard model-00002-of-00003.safetensors can't be read: .*ENOENT/);
		await writeFile(join(dir, "model.safetensors.index.json"), "{");
		await expect(openCheckpoint(dir)).rejects.toThrow(/index.json: not JSON/);
	});
});
