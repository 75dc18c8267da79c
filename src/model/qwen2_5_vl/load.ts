/**
 * A checkpoint folder to a model, and back: `loadModel`, `saveModel`, and `initModel` for a model without weights yet.
 *
 * Tensors are read by offset, one at a time, largest first, through one scratch buffer that shrinks as they do: at no time is more
 * than the tensors loaded so far and one scratch copy of the newest in memory. Weights are float32 in memory whatever
 * they are on disk.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type BackendRequest, selectBackend } from "../../backend/select-backend.js";
import { tensorFromView } from "../../backend/tensor-from-view.js";
import { ones, randomNormal, type Tensor, type Variable, variable, zeros } from "../../backend/tf.js";
import { bytesToFloat32, DTYPE_BYTES, type FloatDtype, float32ToBytes } from "../../checkpoint/dtype.js";
import { openCheckpoint } from "../../checkpoint/open-checkpoint.js";
import { writeCheckpoint } from "../../checkpoint/write-checkpoint.js";
import { writeWhole } from "../../checkpoint/write-whole.js";
import { parseConfig, type Qwen2_5VLConfig } from "./config.js";
import { loadProcessor, saveProcessorFiles } from "./processor.js";
import { Qwen2_5VLModel } from "./qwen2_5_vl.js";
import { readJsonFile, readTextFile } from "./read-json-file.js";
import { matchKeys, weightTable } from "./weights.js";

export interface LoadModelOptions {
	/** Default `auto`: native GPU, native CPU, wasm, cpu, the first that works. Any other is taken or the load fails. */
	backend?: BackendRequest;
	/** Compute type. `auto` is float32, the only one that this version computes in; half-precision files are widened. */
	dtype?: "auto" | "float32";
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
 * @param dir holds config.json, model.safetensors (or shards), tokenizer and processor files
 * @throws if a file is missing or damaged, a tensor is missing, unexpected or of another shape, or the backend can't be had
 */
export async function loadModel(dir: string, options: LoadModelOptions = {}): Promise<Qwen2_5VLModel> {
	return assemble(dir, options, (config) => readParameters(config, dir));
}

/**
 * A model with random weights, N(0, initializer_range) with norms 1 and biases 0, from a folder that has every file but the weights.
 * @param seed uint32; the same seed gives the same weights
 */
export async function initModel(dir: string, { seed = 0, ...options }: LoadModelOptions & { seed?: number } = {}): Promise<Qwen2_5VLModel> {
	return assemble(dir, options, async (config) => drawParameters(config, seed));
}

export interface SaveModelOptions {
	/** How weights are stored. Default float32, as they are in memory; half types round. */
	dtype?: "float32" | "bfloat16" | "float16";
	/** Larger checkpoints are split. Default 5e9 bytes, as in transformers. */
	maxShardBytes?: number;
}

/** Writes the model as a Hugging Face checkpoint folder that transformers loads; see `saveParameters` for what is in it. */
export async function saveModel(model: Qwen2_5VLModel, dir: string, options: SaveModelOptions = {}): Promise<void> {
	await model.save(dir, options);
}

async function assemble(
	dir: string,
	{ backend = "auto", dtype = "auto", processorDir = dir, minPixels, maxPixels, eager }: LoadModelOptions,
	makeParameters: (config: Qwen2_5VLConfig) => Promise<Map<string, Variable>>,
): Promise<Qwen2_5VLModel> {
	if (dtype !== "auto" && dtype !== "float32") {
		throw new Error(`loadModel: dtype ${dtype} is not computed in by this version; use "auto" or "float32" (half-precision files load)`);
	}
	const config = await readConfig(join(dir, "config.json"));
	const selected = await selectBackend(backend);
	const processor = await loadProcessor(processorDir, { minPixels, maxPixels });
	const eosTokenIds = await readEosTokenIds(dir, config);
	const parameters = await makeParameters(config);
	return new Qwen2_5VLModel(config, {
		parameters,
		processor,
		eosTokenIds,
		backendReason: selected.reason,
		eager,
		save: (to, options) => saveParameters(parameters, config, { from: dir, processorDir, to }, options),
	});
}

async function readParameters(config: Qwen2_5VLConfig, dir: string): Promise<Map<string, Variable>> {
	const checkpoint = await openCheckpoint(dir);
	try {
		const table = weightTable(config);
		const entries = checkpoint.names().map((name) => checkpoint.entry(name));
		const keys = matchKeys(table, entries, config.tieWordEmbeddings, dir);
		const bySize = [...keys].sort((a, b) => elements(table.get(b[0])) - elements(table.get(a[0])));
		const loaded = new Map<string, Variable>();
		const scratch = { bytes: new ArrayBuffer(0), floats: new ArrayBuffer(0) };
		for (const [key, name] of bySize) {
			const { dtype } = checkpoint.entry(name);
			const shape = table.get(key)!;
			const count = elements(shape);
			const bytes = await checkpoint.read(name, new Uint8Array(shrink(scratch, "bytes", count * DTYPE_BYTES[dtype])));
			const values =
				dtype === "F32" ? new Float32Array(bytes.buffer, bytes.byteOffset, count) : new Float32Array(shrink(scratch, "floats", count * 4));
			if (dtype !== "F32") bytesToFloat32(bytes, dtype, values);
			loaded.set(key, own(tensorFromView(values, shape as [number])));
		}
		return inTableOrder(table, loaded);
	} finally {
		await checkpoint.close();
	}
}

/** A scratch buffer of exactly `size` bytes; a resizable one, since that gives pages back at once and not when the collector runs. */
function shrink(scratch: Record<"bytes" | "floats", ArrayBuffer>, which: "bytes" | "floats", size: number): ArrayBuffer {
	const current = scratch[which] as ResizableArrayBuffer;
	if (current.maxByteLength >= size && current.resizable) current.resize(size);
	else scratch[which] = new (ArrayBuffer as ResizableArrayBufferConstructor)(size, { maxByteLength: size });
	return scratch[which];
}

// Part of ES2024; in Node since 20, not yet in the compiler's ES2023 library.
type ResizableArrayBuffer = ArrayBuffer & { readonly resizable: boolean; readonly maxByteLength: number; resize(size: number): void };
type ResizableArrayBufferConstructor = new (size: number, options: { maxByteLength: number }) => ArrayBuffer;

const elements = (shape: readonly number[] | undefined) => (shape ?? []).reduce((product, dim) => product * dim, 1);

/** A variable that takes the tensor over. */
function own(tensor: Tensor): Variable {
	const owned = variable(tensor);
	tensor.dispose();
	return owned;
}

function inTableOrder(table: ReadonlyMap<string, unknown>, loaded: Map<string, Variable>): Map<string, Variable> {
	return new Map([...table.keys()].map((key) => [key, loaded.get(key)!]));
}

function drawParameters(config: Qwen2_5VLConfig, seed: number): Map<string, Variable> {
	const isNorm = (key: string) => /norm|ln_q/.test(key);
	return new Map(
		[...weightTable(config)].map(([key, shape], i) => {
			if (isNorm(key)) return [key, own(ones(shape))];
			if (key.endsWith(".bias")) return [key, own(zeros(shape))];
			return [key, own(randomNormal(shape, 0, config.text.initializerRange, "float32", seed + i))];
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
	config: Qwen2_5VLConfig,
	{ from, processorDir, to }: { from: string; processorDir: string; to: string },
	{ dtype = "float32", maxShardBytes }: SaveModelOptions = {},
): Promise<void> {
	await mkdir(to, { recursive: true });
	const raw = { ...config.raw };
	delete raw.torch_dtype;
	const entries = [...parameters].map(([name, parameter]) => ({
		name,
		shape: parameter.shape,
		dtype: HUB_DTYPE[dtype],
		data: async () => float32ToBytes((await parameter.data()) as Float32Array, HUB_DTYPE[dtype]),
	}));
	const generationConfig = await readTextFile(join(from, "generation_config.json"));
	await saveProcessorFiles(processorDir, to);
	if (generationConfig) await writeWhole(join(to, "generation_config.json"), async (f) => f.writeFile(generationConfig));
	await writeCheckpoint(to, entries, { maxShardBytes });
	await writeWhole(join(to, "config.json"), async (f) => f.writeFile(`${JSON.stringify({ ...raw, dtype }, null, 2)}\n`));
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
