/**
 * A LoRA adapter on a Qwen2.5-VL: new, or from a PEFT folder. Its parameters stand among the model's, below the module that they belong to
 * (`model.layers.0.self_attn.q_proj.lora_A.weight`); the base has no gradient.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { tensor, type Variable, zeros } from "../../backend/tf.js";
import { LowRank } from "../../nn/low-rank.js";
import type { AdapterFacts } from "../generative-model.js";
import { type AdapterConfig, adapterSettings, isAdapterFolder, readAdapterConfig } from "../lora/adapter-config.js";
import { readAdapterTensors, writeAdapter } from "../lora/adapter-file.js";
import { type AdapterPlan, loraKeys, planAdapter } from "../lora/adapter-plan.js";
import { type LoraOptions, newAdapterConfig } from "../lora/lora-options.js";
import type { Qwen2_5VLConfig } from "./config.js";
import { fillUniform } from "./fill-uniform.js";
import { keep, own, readBack, type StorageOf } from "./read-parameters.js";
import { hubKey, transformersKey, weightTable } from "./weights.js";

/** An adapter that is to be put on a base. */
export interface AdapterSource {
	config: AdapterConfig;
	/** Its folder, or the seed of a new one. */
	from: { dir: string } | { seed: number };
}

/** One that is on it. */
export interface Adapter {
	/** By the matrix's key. */
	matrices: ReadonlyMap<string, LowRank>;
	/** Its own parameters and those of `modules_to_save`. */
	parameters: Map<string, Variable>;
	facts: AdapterFacts;
	/** Writes PEFT's folder. */
	save(dir: string): Promise<void>;
}

/**
 * What a folder or its options mean: a base, and an adapter on it or none.
 * @param dir a base, or an adapter that names its base
 * @throws where there would be two adapters, or the base is not there
 */
export async function resolveAdapter(
	dir: string,
	{ adapter: given, lora }: { adapter?: string; lora?: LoraOptions },
): Promise<{ base: string; adapter?: AdapterSource }> {
	if (given !== undefined && isAdapterFolder(dir))
		throw new Error(`${dir}: an adapter itself; name its base's folder to put ${given} on it`);
	const adapter = given ?? (isAdapterFolder(dir) ? dir : undefined);
	if (adapter !== undefined && lora) {
		throw new Error(`${adapter}: an adapter is trained further as it is; leave the options for a new one (lora) out, or the adapter`);
	}
	const base = await baseFolder(dir);
	if (adapter !== undefined) return { base, adapter: { config: await readAdapterConfig(adapter), from: { dir: adapter } } };
	if (!lora) return { base };
	return { base, adapter: { config: newAdapterConfig(lora, resolve(base)), from: { seed: lora.seed ?? 42 } } };
}

/** The folder itself, or the base that an adapter's folder names. @throws where that is no folder here */
export async function baseFolder(dir: string): Promise<string> {
	if (!isAdapterFolder(dir)) return dir;
	const { base_model_name_or_path: name } = await readAdapterConfig(dir);
	if (name && existsSync(join(name, "config.json"))) return name;
	throw new Error(
		`${dir}: an adapter on ${name ?? "a base that it does not name"}, which is no checkpoint's folder here; load the base's folder with the adapter beside it (adapter, --adapter)`,
	);
}

export function planFor({ config, from }: AdapterSource, model: Qwen2_5VLConfig): AdapterPlan {
	// The hub's spelling is that of transformers before 4.52, which adapters may have been made with.
	const namesOf = (module: string) => ("dir" in from ? [transformersKey(module), module] : [transformersKey(module)]);
	return planAdapter(config, weightTable(model), { namesOf, tied: model.tieWordEmbeddings });
}

/**
 * Puts the adapter's parameters among the base's, and takes the base out of the gradient tape.
 * @param parameters the base's; those of `modules_to_save` are replaced where the adapter has its own
 */
export async function putAdapter(
	parameters: Map<string, Variable>,
	{ config, from }: AdapterSource,
	plan: AdapterPlan,
	storageOf: StorageOf,
): Promise<Adapter> {
	for (const [key, parameter] of parameters) if (!plan.saved.has(key)) parameter.trainable = false;
	const shapes = shapesOf(plan, parameters);
	const read = "dir" in from ? await readAdapterTensors(from.dir, shapes, hubKey) : undefined;
	for (const [key, { shape, values }] of read ?? []) {
		parameters.get(key)?.dispose();
		for (const [part, parameter] of keep(key, tensor(values, shape, "float32"), plan.saved.has(key) ? storageOf(key) : "float32"))
			parameters.set(part, parameter);
	}
	const seed = "seed" in from ? from.seed : 0;
	const matrices = new Map<string, LowRank>();
	for (const [key, { rank, in: width, out, scaling }] of plan.matrices) {
		const [a, b] = loraKeys(key);
		if (!read) {
			// As torch's kaiming_uniform_ with a = √5.
			const drawn = fillUniform(new Float32Array(rank * width), 1 / Math.sqrt(width), seed + matrices.size);
			parameters.set(a, own(tensor(drawn, [rank, width], "float32")));
			parameters.set(b, own(zeros([out, rank])));
		}
		const options = { scaling, dropout: config.lora_dropout, index: matrices.size };
		matrices.set(key, new LowRank(parameters.get(a)!, parameters.get(b)!, options));
	}
	const mine = new Map([...shapes.keys()].map((key) => [key, parameters.get(key)!]));
	return {
		...{ matrices, parameters: mine },
		facts: { dropout: config.lora_dropout, settings: adapterSettings(config) },
		save: (dir) => {
			const tensors = [...mine].map(
				([key, variable]) => [transformersKey(key), { shape: variable.shape, values: () => readBack(variable) }] as const,
			);
			return writeAdapter(dir, config, new Map(tensors));
		},
	};
}

function shapesOf({ matrices, saved }: AdapterPlan, parameters: ReadonlyMap<string, Variable>): Map<string, readonly number[]> {
	const shapes = new Map<string, readonly number[]>();
	for (const [key, { rank, in: width, out }] of matrices) {
		const [a, b] = loraKeys(key);
		shapes.set(a, [rank, width]);
		shapes.set(b, [out, rank]);
	}
	for (const key of saved) shapes.set(key, parameters.get(key)!.shape);
	return shapes;
}
