/**
 * A checkpoint folder to a model, and back: `loadModel`, `saveModel`, and `initModel` for a model without weights yet. How weights are read is
 * read-parameters.ts's, what type they have in memory choose-dtype.ts's.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isBfloat16 } from "../../backend/bfloat16.js";
import { type BackendRequest, selectBackend } from "../../backend/select-backend.js";
import { ones, randomNormal, type Tensor, type Tensor2D, type Variable, zeros } from "../../backend/tf.js";
import { type FloatDtype, float32ToBytes } from "../../checkpoint/dtype.js";
import { openCheckpoint } from "../../checkpoint/open-checkpoint.js";
import { writeCheckpoint } from "../../checkpoint/write-checkpoint.js";
import { writeWhole } from "../../checkpoint/write-whole.js";
import type { LoraOptions } from "../lora/lora-options.js";
import { type Adapter, type AdapterSource, planFor, putAdapter, resolveAdapter } from "./adapter.js";
import { type ChosenDtype, chooseDtype, type DtypeRequest } from "./choose-dtype.js";
import { parseConfig, type Qwen2_5VLConfig } from "./config.js";
import { loadProcessor, saveProcessorFiles } from "./processor.js";
import { Qwen2_5VLModel } from "./qwen2_5_vl.js";
import { readJsonFile, readTextFile } from "./read-json-file.js";
import { isMatrix, keep, own, readBack, readParameters, type StorageOf } from "./read-parameters.js";
import { weightTable } from "./weights.js";

export interface LoadModelOptions {
	/** Default `auto`: native GPU, native CPU, wasm, cpu, the first that works. Any other is taken or the load fails. */
	backend?: BackendRequest;
	/**
	 * What matrices are kept and multiplied in. Default `auto`: bfloat16 where the checkpoint is stored in it and the processor or GPU has
	 * it, else float32. Of a checkpoint in another type, `bfloat16` rounds the matrices. `int8` (native CPU) rounds those of the language model to
	 * a step per row, for the fastest decode steps: see docs/decisions/row-ops.md for what it costs.
	 */
	dtype?: DtypeRequest;
	/**
	 * Keep float32 master weights, to train a model that computes in bfloat16. Without it (the default) such a model has bfloat16 matrices
	 * only, half the memory, and can sample but not be trained. A float32 model is trainable either way.
	 */
	trainable?: boolean;
	/** Folder of a PEFT LoRA adapter, to sample with or to train further: adapter_config.json, adapter_model.safetensors. Default: none. */
	adapter?: string;
	/** A new LoRA adapter, to be trained; the base is frozen, and with `trainable` needs no float32 weights. Default: none. */
	lora?: LoraOptions;
	/**
	 * With `trainable`, in bfloat16: parameters that will not be trained (Trainer's `freeze`). Their matrices are bfloat16 only. Default: none.
	 * @param name a parameter's name, the hub's spelling
	 */
	frozen?: (name: string) => boolean;
	/** Folder of the tokenizer and processor files, where they are not with the weights. Default: `dir`. */
	processorDir?: string;
	/** Fewest and most pixels of an image after resizing. Default: preprocessor_config.json. */
	minPixels?: number;
	maxPixels?: number;
	/** Generate op by op instead of by compiled passes: slower, for debugging and comparison. Default false. */
	eager?: boolean;
}

/**
 * Loads a Qwen2.5-VL checkpoint in Hugging Face layout.
 * @param dir holds config.json, model.safetensors (or shards), tokenizer and processor files; or an adapter, which names the folder of its base
 * @throws if a file is missing or damaged, a tensor is missing, unexpected or of another shape, the backend can't be had, or it has no
 *   bfloat16 and that was asked for
 */
export async function loadModel(dir: string, options: LoadModelOptions = {}): Promise<Qwen2_5VLModel> {
	const { base, adapter } = await resolveAdapter(dir, options);
	const readers = {
		stored: () => isStoredInBfloat16(base),
		read: (config: Qwen2_5VLConfig, storageOf: StorageOf) => readParameters(config, base, storageOf),
	};
	return assemble(base, options, readers, adapter);
}

/**
 * A model with random weights, N(0, initializer_range) with norms 1 and biases 0, from a folder that has every file but the weights.
 * @param seed uint32; the same seed gives the same weights
 */
export async function initModel(dir: string, { seed = 0, ...options }: LoadModelOptions & { seed?: number } = {}): Promise<Qwen2_5VLModel> {
	const readers = {
		stored: async () => false,
		read: async (config: Qwen2_5VLConfig, storageOf: StorageOf) => drawParameters(config, seed, storageOf),
	};
	const { base, adapter } = await resolveAdapter(dir, options);
	return assemble(base, options, readers, adapter);
}

export interface SaveModelOptions {
	/**
	 * How weights are stored; half types round. Default: each as it is in memory, so float32, but for the matrices of a model that was loaded in
	 * bfloat16 without `trainable`.
	 */
	dtype?: "float32" | "bfloat16" | "float16";
	/** Of a model with an adapter: the base with the adapter merged into it, instead of the adapter alone. Default false. */
	merge?: boolean;
	/** Larger checkpoints are split. Default 5e9 bytes, as in transformers. */
	maxShardBytes?: number;
}

/**
 * Writes the model as a Hugging Face checkpoint folder that transformers loads; see `saveParameters` for what is in it. Of a model with an adapter: the
 * adapter as PEFT has it, or with `merge` the whole.
 */
export async function saveModel(model: Qwen2_5VLModel, dir: string, options: SaveModelOptions = {}): Promise<void> {
	await model.save(dir, options);
}

async function assemble(
	dir: string,
	{ backend = "auto", dtype: request = "auto", trainable = false, frozen: untrained, processorDir = dir, ...rest }: LoadModelOptions,
	weights: WeightSource,
	source?: AdapterSource,
): Promise<Qwen2_5VLModel> {
	const { minPixels, maxPixels, eager } = rest;
	const config = await readConfig(join(dir, "config.json"));
	const selected = await selectBackend(backend);
	const processor = await loadProcessor(processorDir, { minPixels, maxPixels });
	const eosTokenIds = await readEosTokenIds(dir, config);
	const { dtype, compute, reason } = chooseDtype(request, await weights.stored(), selected.name);
	if (dtype === "int8" && trainable && !source) throw new Error(INT8_SAMPLES);
	const plan = source && planFor(source, config);
	const isTrained = (key: string) => (plan ? plan.saved.has(key) : !untrained?.(key));
	const storageOf = (key: string): ChosenDtype["dtype"] => {
		if (trainable && isTrained(key)) return "float32";
		return dtype === "int8" && (key.startsWith("visual.") || plan?.saved.has(key)) ? compute : dtype;
	};
	const parameters = await weights.read(config, storageOf);
	const baseKeys = [...parameters.keys()];
	const adapter = source && plan && (await putAdapter(parameters, source, plan, storageOf));
	return new Qwen2_5VLModel(config, {
		...{ parameters, adapter },
		processor,
		eosTokenIds,
		dtype,
		compute,
		frozen: dtype !== "float32" && !trainable,
		backendReason: `${selected.reason}; ${reason}`,
		eager,
		save: async (to, options) => {
			if (adapter && !options?.merge) return adapter.save(to);
			if (dtype === "int8") throw new Error(INT8_SAMPLES);
			const whole = new Map(baseKeys.map((key) => [key, parameters.get(key)!]));
			await saveParameters(whole, adapter, config, { from: dir, processorDir, to }, options);
		},
	});
}

/** Where `assemble` has its weights from. */
interface WeightSource {
	/** Whether the matrices are bfloat16 on disk. */
	stored(): Promise<boolean>;
	read(config: Qwen2_5VLConfig, storageOf: StorageOf): Promise<Map<string, Variable>>;
}

const INT8_SAMPLES =
	'dtype "int8" is for sampling and below a LoRA adapter: its weights are rounded, and can be neither trained nor saved; load the checkpoint in "float32" or "bfloat16" for that';

/** Whether every matrix of the checkpoint is. */
export async function isStoredInBfloat16(dir: string): Promise<boolean> {
	const checkpoint = await openCheckpoint(dir);
	try {
		const matrices = checkpoint
			.names()
			.map((name) => checkpoint.entry(name))
			.filter(({ shape }) => isMatrix(shape));
		return matrices.length > 0 && matrices.every(({ dtype }) => dtype === "BF16");
	} finally {
		await checkpoint.close();
	}
}

function drawParameters(config: Qwen2_5VLConfig, seed: number, storageOf: StorageOf): Map<string, Variable> {
	const isNorm = (key: string) => /norm|ln_q/.test(key);
	return new Map(
		[...weightTable(config)].flatMap(([key, shape], i) => {
			if (isNorm(key)) return [[key, own(ones(shape))]];
			if (key.endsWith(".bias")) return [[key, own(zeros(shape))]];
			return keep(key, randomNormal(shape, 0, config.text.initializerRange, "float32", seed + i), storageOf(key));
		}),
	);
}

const HUB_DTYPE = { float32: "F32", bfloat16: "BF16", float16: "F16" } as const satisfies Record<string, FloatDtype>;

/**
 * Writes weights under the hub's keys, config.json with their dtype, and the tokenizer, processor and generation files of the folder
 * that the model came from. config.json goes last: a folder that has one is whole.
 */
async function saveParameters(
	parameters: Map<string, Variable>,
	adapter: Adapter | undefined,
	config: Qwen2_5VLConfig,
	{ from, processorDir, to }: { from: string; processorDir: string; to: string },
	{ dtype, maxShardBytes }: SaveModelOptions = {},
): Promise<void> {
	await mkdir(to, { recursive: true });
	const raw = { ...config.raw };
	delete raw.torch_dtype;
	const dtypeOf = (parameter: Variable) => dtype ?? (isBfloat16(parameter) ? "bfloat16" : "float32");
	const entries = [...parameters].map(([name, parameter]) => {
		const stored = HUB_DTYPE[dtypeOf(parameter)];
		const lowRank = adapter?.matrices.get(name);
		const merge = lowRank && ((weight: Tensor) => lowRank.merged(weight as Tensor2D));
		return { name, shape: parameter.shape, dtype: stored, data: async () => float32ToBytes(await readBack(parameter, merge), stored) };
	});
	// transformers loads all in config.json's type: what was trained in float32 shall not be rounded for the sake of what was not.
	const types = new Set([...parameters.values()].filter(({ shape }) => isMatrix(shape)).map(dtypeOf));
	const matrices = types.has("float32") ? "float32" : [...types][0];
	const generationConfig = await readTextFile(join(from, "generation_config.json"));
	await saveProcessorFiles(processorDir, to);
	if (generationConfig) await writeWhole(join(to, "generation_config.json"), async (f) => f.writeFile(generationConfig));
	await writeCheckpoint(to, entries, { maxShardBytes });
	await writeWhole(join(to, "config.json"), async (f) => f.writeFile(`${JSON.stringify({ ...raw, dtype: matrices }, null, 2)}\n`));
}

const idOrIds = z.union([z.int(), z.array(z.int())]).nullish();
const eosSchema = z.looseObject({ eos_token_id: idOrIds, text_config: z.looseObject({ eos_token_id: idOrIds }).optional() });

/** generation_config.json's, else config.json's. */
async function readEosTokenIds(dir: string, config: Qwen2_5VLConfig): Promise<number[]> {
	const generation = (await readJsonFile(join(dir, "generation_config.json"))) ?? {};
	const ids = [generation, config.raw].map((json) => eosSchema.parse(json)).map((e) => e.eos_token_id ?? e.text_config?.eos_token_id);
	const found = ids[0] ?? ids[1];
	if (found === undefined || found === null) {
		throw new Error(`${dir}: neither generation_config.json nor config.json has an eos_token_id; a generation could not end`);
	}
	return [found].flat();
}

async function readConfig(file: string): Promise<Qwen2_5VLConfig> {
	const json = await readJsonFile(file);
	if (json !== undefined) return parseConfig(json, file);
	throw new Error(
		`${file}: no such file; expected the folder of a Hugging Face checkpoint (download it first; hub names are not resolved)`,
	);
}
