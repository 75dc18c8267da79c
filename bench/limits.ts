/**
 * What the machine could do at best, in the same TensorFlow that the model runs on, and how much work the model's steps are: speed.ts prints
 * the distance between the two. Run it by `npm run bench -- --jobs limits`.
 *
 * Read bandwidth is the sum of 1 GiB of float32 (it streams through memory once, on all cores). Peak GFLOPS is TensorFlow's own 1024³ matrix product, float32 and
 * bfloat16. Work is counted as useful: each weight once per token, attention's causal half, no recomputation.
 *
 * Legend: T tokens, C channels.
 */
import { readFileSync } from "node:fs";
import { backend, fill, sum } from "@tensorflow/tfjs";
import { selectBackend } from "../src/index.js";
import { type Measurements, measured, seconds } from "./speed/samples.js";
import { type Config, LABELLED_TOKENS, PROMPT_TOKENS, TRAINING_ROWS, TRAINING_TOKENS } from "./speed/settings.js";

const MATMUL_SIDE = 1024;
export const MATMUL_FLOPS = 2 * MATMUL_SIDE ** 3;
export const READ_BYTES = 2 ** 30;
/** TensorFlow's number of the type. */
const TF_TYPES = { float32: 1, bfloat16: 14 };

/** The part of tfjs-node's backend by which a type that TensorFlow.js has no name for is computed in. */
interface NativeBackend {
	getInputTensorIds(tensors: { dataId: object }[]): number[];
	binding: {
		TF_ATTR_TYPE: number;
		TF_ATTR_BOOL: number;
		executeOp(op: string, attrs: { name: string; type: number; value: unknown }[], ids: number[], outputs: number): { id: number }[];
		deleteTensor(id: number): void;
	};
}

/** Seconds for reading 1 GiB, and for a 1024³ product per type. */
export async function measureLimits(): Promise<Measurements> {
	await selectBackend("native-cpu");
	const results: Measurements = { read_1GiB_s: measured(repeat(10, readMemory())) };
	for (const [name, type] of Object.entries(TF_TYPES)) results[`matmul_1024_${name}_s`] = measured(repeat(60, matmul(type)));
	return results;
}

function repeat(times: number, work: () => void): number[] {
	work();
	return Array.from({ length: times }, () => {
		const started = seconds();
		work();
		return seconds() - started;
	});
}

function readMemory(): () => void {
	const block = fill([READ_BYTES / 4], 1);
	return () => sum(block).dispose();
}

function matmul(type: number): () => void {
	const { binding, getInputTensorIds } = backend() as unknown as NativeBackend; // native-cpu is selected: it is tfjs-node's
	const matrix = fill([MATMUL_SIDE, MATMUL_SIDE], 0.5);
	const attr = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value });
	const flag = (name: string) => ({ name, type: binding.TF_ATTR_BOOL, value: false });
	const [id] = getInputTensorIds.call(backend(), [matrix]);
	const [cast] = binding.executeOp("Cast", [attr("SrcT", TF_TYPES.float32), attr("DstT", type), flag("Truncate")], [id], 1);
	return () => {
		const attrs = [attr("T", type), flag("transpose_a"), flag("transpose_b")];
		const [product] = binding.executeOp("MatMul", attrs, [cast.id, cast.id], 1);
		binding.deleteTensor(product.id);
	};
}

/** How much a configuration's steps compute and read. */
export interface Work {
	/** Weights that a decode step reads, whatever the batch. */
	decodeWeights: number;
	/** Floating-point operations of reading one two-image prompt. */
	prefillFlops: number;
	/** Of one training step. */
	trainFlops: number;
}

export function workOf(config: Config): Work {
	const { text_config: text, vision_config: vision } = JSON.parse(
		readFileSync(new URL(`./peer/configs/${config}.json`, import.meta.url), "utf8"),
	);
	const c: number = text.hidden_size;
	const keys = (c / text.num_attention_heads) * text.num_key_value_heads;
	const layer = 2 * c * c + 2 * c * keys + 3 * c * text.intermediate_size;
	const layers: number = text.num_hidden_layers;
	const head = c * text.vocab_size;
	const decoder = (tokens: number, logits: number) => 2 * layer * layers * tokens + 2 * layers * c * tokens ** 2 + 2 * head * logits;
	const images = 2 * imageFlops(vision);
	return {
		decodeWeights: layer * layers + head,
		prefillFlops: decoder(PROMPT_TOKENS, 1) + images,
		trainFlops: 3 * TRAINING_ROWS * (decoder(TRAINING_TOKENS, LABELLED_TOKENS) + images),
	};
}

/** One image of 280 × 280: 400 patches in windows of 64, 100 tokens. */
function imageFlops(vision: Record<string, number> & { fullatt_block_indexes: number[] }): number {
	const [patches, window] = [400, 64];
	const c = vision.hidden_size;
	const full = vision.fullatt_block_indexes.length;
	const blocks = vision.depth * 2 * patches * (4 * c * c + 3 * c * vision.intermediate_size);
	const attention = 4 * c * patches * (full * patches + (vision.depth - full) * window);
	const embedding = 2 * patches * c * vision.in_channels * vision.temporal_patch_size * vision.patch_size ** 2;
	const merger = 2 * (patches / 4) * (16 * c * c + 4 * c * vision.out_hidden_size);
	return blocks + attention + embedding + merger;
}
