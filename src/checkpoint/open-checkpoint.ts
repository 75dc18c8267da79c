/**
 * The weights of a Hugging Face checkpoint folder: `model.safetensors`, or shards named by `model.safetensors.index.json`.
 * Where both are there the single file counts, as in transformers. Shard names are file names in the folder, never paths.
 */
import { access, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { openSafetensors, type SafetensorsFile } from "./safetensors.js";
import type { TensorEntry } from "./safetensors-header.js";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/** The tensors of a folder, wherever they lie; close it. */
export interface Checkpoint {
	readonly dir: string;
	/** All tensor names, file by file, in file order. */
	names(): string[];
	/** @throws Error for an unknown name. */
	entry(name: string): TensorEntry;
	/** The path of the file that a tensor is in. @throws Error for an unknown name. */
	fileOf(name: string): string;
	/** As `SafetensorsFile.read`. */
	read(name: string, into?: Uint8Array): Promise<Uint8Array>;
	close(): Promise<void>;
}

const plainName = z.string().refine((name) => name.endsWith(".safetensors") && basename(name) === name && !name.includes("\\"), {
	message: "expected the name of a .safetensors file in the same folder",
});
const indexSchema = z.object({ weight_map: z.record(z.string(), plainName) });

/**
 * Opens a folder's weights and checks every header.
 * @throws Error if the folder holds no safetensors weights, a shard is missing or damaged, or the index names a tensor that its shard lacks.
 */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
	const files: SafetensorsFile[] = [];
	const close = async () => {
		await Promise.all(files.map((file) => file.close()));
	};
	try {
		const byName = new Map<string, SafetensorsFile>();
		if (await exists(join(dir, SINGLE_FILE))) {
			const file = await openSafetensors(join(dir, SINGLE_FILE));
			files.push(file);
			for (const name of file.header.keys()) byName.set(name, file);
		} else await openShards(dir, files, byName);
		return checkpoint(dir, byName, close);
	} catch (error) {
		await close();
		throw error;
	}
}

function checkpoint(dir: string, byName: Map<string, SafetensorsFile>, close: () => Promise<void>): Checkpoint {
	const fileOf = (name: string) => {
		const file = byName.get(name);
		if (!file) throw new Error(`${dir}: no tensor ${JSON.stringify(name)} among the checkpoint's ${byName.size}`);
		return file;
	};
	return {
		dir,
		close,
		names: () => [...byName.keys()],
		entry: (name) => fileOf(name).header.get(name)!,
		fileOf: (name) => fileOf(name).file,
		read: async (name, into) => fileOf(name).read(name, into),
	};
}

async function openShards(dir: string, files: SafetensorsFile[], byName: Map<string, SafetensorsFile>): Promise<void> {
	const weightMap = await readIndex(dir);
	const shards = new Map<string, SafetensorsFile>();
	for (const shard of [...new Set(weightMap.values())].sort()) {
		const file = await openSafetensors(join(dir, shard)).catch((cause: unknown) => {
			throw new Error(`${join(dir, INDEX_FILE)}: shard ${shard} can't be read: ${cause instanceof Error ? cause.message : cause}`, {
				cause,
			});
		});
		files.push(file);
		shards.set(shard, file);
		for (const name of file.header.keys()) byName.set(name, file);
	}
	for (const [name, shard] of weightMap) {
		const file = shards.get(shard)!;
		if (!file.header.has(name))
			throw new Error(`${join(dir, INDEX_FILE)}: puts ${name} into ${shard}, which lacks it; fetch the checkpoint again`);
		byName.set(name, file);
	}
}

async function readIndex(dir: string): Promise<Map<string, string>> {
	const path = join(dir, INDEX_FILE);
	if (!(await exists(path))) {
		throw new Error(
			`${dir}: neither ${SINGLE_FILE} nor ${INDEX_FILE} is there; expected a Hugging Face checkpoint folder (other weight formats: save with save_pretrained)`,
		);
	}
	let json: unknown;
	try {
		json = JSON.parse(await readFile(path, "utf8"));
	} catch (cause) {
		throw new Error(`${path}: not JSON (${cause instanceof Error ? cause.message : cause})`, { cause });
	}
	const parsed = indexSchema.safeParse(json);
	if (!parsed.success) throw new Error(`${path}: ${z.prettifyError(parsed.error)}`);
	return new Map(Object.entries(parsed.data.weight_map));
}

async function exists(path: string): Promise<boolean> {
	return access(path).then(
		() => true,
		() => false,
	);
}
