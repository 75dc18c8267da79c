/**
 * Writes the weights of a Hugging Face checkpoint folder: one file, or shards and their index.
 * Every file appears whole; the index comes after its shards, and weight files of an earlier save go last,
 * so that a reader never finds an index without its shards.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { INDEX_FILE, SINGLE_FILE } from "./open-checkpoint.js";
import { byteLength, type Entries, type TensorSource, writeSafetensors } from "./write-safetensors.js";
import { writeWhole } from "./write-whole.js";

/** What this module writes, and so may remove. */
const WEIGHT_FILE = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

export interface WriteCheckpointOptions {
	/** Most bytes of tensors per file; a larger single tensor gets a file of its own. Default 5e9, as in transformers. */
	maxShardBytes?: number;
}

/**
 * @param entries in the order in which shards are filled
 * @throws Error as `writeSafetensors`; the weights that were in the folder before are then still there.
 */
export async function writeCheckpoint(
	dir: string,
	entries: Entries<TensorSource>,
	{ maxShardBytes = 5e9 }: WriteCheckpointOptions = {},
): Promise<void> {
	await mkdir(dir, { recursive: true });
	const shards = await split(entries, maxShardBytes);
	const names = shards.map((_, i) => (shards.length === 1 ? SINGLE_FILE : shardName(i + 1, shards.length)));
	for (const [i, shard] of shards.entries()) await writeSafetensors(join(dir, names[i]), shard);
	const written = new Set(names);
	if (shards.length > 1) {
		await writeIndex(dir, shards, names);
		written.add(INDEX_FILE);
	}
	for (const file of await readdir(dir)) if (WEIGHT_FILE.test(file) && !written.has(file)) await rm(join(dir, file));
}

async function split(entries: Entries<TensorSource>, maxShardBytes: number): Promise<TensorSource[][]> {
	const shards: TensorSource[][] = [[]];
	let bytes = 0;
	for await (const source of entries) {
		const size = byteLength(source);
		if (bytes > 0 && bytes + size > maxShardBytes) {
			shards.push([]);
			bytes = 0;
		}
		shards.at(-1)!.push(source);
		bytes += size;
	}
	return shards;
}

const shardName = (i: number, n: number) => `model-${String(i).padStart(5, "0")}-of-${String(n).padStart(5, "0")}.safetensors`;

async function writeIndex(dir: string, shards: TensorSource[][], names: string[]): Promise<void> {
	const weightMap = shards.flatMap((shard, i) => shard.map((source) => [source.name, names[i]] as const));
	const totalSize = shards.flat().reduce((sum, source) => sum + byteLength(source), 0);
	const index = { metadata: { total_size: totalSize }, weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))) };
	await writeWhole(join(dir, INDEX_FILE), async (handle) => {
		await handle.writeFile(`${JSON.stringify(index, null, 2)}\n`);
	});
}
