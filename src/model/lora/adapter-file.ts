/** adapter_model.safetensors, PEFT's tensors of an adapter: `base_model.model.` before transformers' name of each. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { bytesToFloat32, float32ToBytes } from "../../checkpoint/dtype.js";
import { openSafetensors } from "../../checkpoint/safetensors.js";
import { writeSafetensors } from "../../checkpoint/write-safetensors.js";
import { type AdapterConfig, writeAdapterConfig } from "./adapter-config.js";

const ADAPTER_FILE = "adapter_model.safetensors";
const PREFIX = "base_model.model.";

export interface AdapterTensor {
	shape: number[];
	values: Float32Array;
}

/**
 * @param keyOf a parameter's key, from transformers' name of it
 * @param expected the adapter's keys and shapes
 * @throws listing every missing and unexpected tensor, and every other shape
 */
export async function readAdapterTensors(
	dir: string,
	expected: ReadonlyMap<string, readonly number[]>,
	keyOf: (name: string) => string,
): Promise<Map<string, AdapterTensor>> {
	const path = join(dir, ADAPTER_FILE);
	if (!existsSync(path)) {
		throw new Error(`${path}: no such file; expected the folder of a PEFT adapter (an adapter_model.bin: save it again as safetensors)`);
	}
	const file = await openSafetensors(path);
	try {
		const found = new Map([...file.header.values()].map((entry) => [keyOf(entry.name.replace(PREFIX, "")), entry]));
		const wrong = [
			...[...expected.keys()].filter((key) => !found.has(key)).map((key) => `missing: ${key}`),
			...[...found].filter(([key]) => !expected.has(key)).map(([, { name }]) => `unexpected: ${name}`),
			...[...found].flatMap(([key, { name, shape }]) => {
				const wanted = expected.get(key);
				return wanted && wanted.join() !== shape.join()
					? [`shape: ${name} is [${shape}], the base and the settings ask for [${wanted}]`]
					: [];
			}),
		];
		if (wrong.length > 0) throw new Error(`${path} does not fit its adapter_config.json and the base:\n  ${wrong.join("\n  ")}`);
		const tensors = new Map<string, AdapterTensor>();
		for (const [key, { name, dtype, shape }] of found) {
			tensors.set(key, { shape: [...shape], values: bytesToFloat32(await file.read(name), dtype) });
		}
		return tensors;
	} finally {
		await file.close();
	}
}

/**
 * Writes both files; adapter_config.json goes last: a folder that has one is whole.
 * @param tensors the adapter's by transformers' names; values are asked for one at a time
 */
export async function writeAdapter(
	dir: string,
	config: AdapterConfig,
	tensors: ReadonlyMap<string, { shape: readonly number[]; values: () => Promise<Float32Array> }>,
): Promise<void> {
	await mkdir(dir, { recursive: true });
	const sources = [...tensors].map(([name, { shape, values }]) => ({
		name: PREFIX + name,
		dtype: "F32" as const,
		shape,
		data: async () => float32ToBytes(await values(), "F32"),
	}));
	await writeSafetensors(join(dir, ADAPTER_FILE), sources);
	await writeAdapterConfig(dir, config);
}
