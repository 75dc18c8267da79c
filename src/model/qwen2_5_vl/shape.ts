/**
 * How large a model is, from its config.json alone: every parameter, and what a training pass keeps for its backward pass.
 *
 * Intermediates are counted as the layers here have them: the gradient of a product keeps its operands, softmax its result, RMSNorm its input,
 * SwiGLU gate and up. With bfloat16 the operands of products are half as large; the residual stream and everything in attention stay float32.
 *
 * Legend: N tokens of a micro-batch, B rows, T tokens of a row, C hidden, I intermediate, K·D keys' width, H heads, P patches, W patches of a window.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { BatchShape, ModelShape, PassOptions, PassSize } from "../generative-model.js";
import { parseConfig, type Qwen2_5VLConfig, type TextConfig, type VisionConfig } from "./config.js";
import { readJsonFile } from "./read-json-file.js";
import { weightTable } from "./weights.js";

/** @param path a checkpoint's folder, or a config.json; no weights are needed. @throws where there is none, or it is another model's */
export async function readModelShape(path: string): Promise<ModelShape> {
	const isFolder = await stat(path).then(
		(entry) => entry.isDirectory(),
		() => false,
	);
	const file = isFolder ? join(path, "config.json") : path;
	const json = await readJsonFile(file);
	if (json === undefined) throw new Error(`${file}: no such file; expected a config.json, or a folder with one`);
	return modelShape(parseConfig(json, file));
}

export function modelShape(config: Qwen2_5VLConfig): ModelShape {
	const { text, vision } = config;
	return {
		parameters: weightTable(config),
		vocabulary: text.vocabSize,
		hiddenSize: text.hiddenSize,
		tokensPerImage: (pixels) => Math.max(1, Math.round(pixels / (vision.patchSize * vision.spatialMergeSize) ** 2)),
		pass: (batch, how) => passSize(config, batch, how),
	};
}

const FLOAT = 4;

function passSize(config: Qwen2_5VLConfig, batch: BatchShape, { bfloat16, frozen }: PassOptions): PassSize {
	const { text, vision } = config;
	const operand = bfloat16 ? 2 : FLOAT;
	const merged = batch.images * batch.tokensPerImage;
	const patches = merged * vision.spatialMergeSize ** 2;
	const decoder = decoderLayer(text, batch, operand);
	// A tower that isn't trained is not on the gradient tape.
	const towerTrains = [...weightTable(config).keys()].some((name) => name.startsWith("visual.") && !frozen(name));
	const blocks = Array.from({ length: towerTrains ? vision.depth : 0 }, (_, i) =>
		visionBlock(vision, { images: batch.images, patches, full: vision.fullattBlockIndexes.includes(i) }, operand),
	);
	const input = batch.rows * batch.tokensPerRow * text.hiddenSize * FLOAT;
	const patchInput = patches * vision.hiddenSize * FLOAT;
	const pixels = patches * vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2 * FLOAT;
	const merger = towerTrains ? patches * vision.hiddenSize * (2 * FLOAT + operand) : 0;
	const outside = 3 * input + pixels + merger; // text embeddings, those with the images, the final norm
	return {
		kept: outside + text.numHiddenLayers * decoder + sum(blocks),
		keptWithCheckpointing: outside + text.numHiddenLayers * input + blocks.length * patchInput,
		layer: Math.max(decoder, ...blocks),
		flops: flops(config, batch, patches),
	};
}

/** Of the layers' products; the head is the trainer's, which multiplies labelled tokens only. */
function flops(config: Qwen2_5VLConfig, { rows, tokensPerRow }: BatchShape, patches: number): number {
	const { text, vision } = config;
	const elements = (prefix: string) => sum([...weightTable(config)].map(([name, shape]) => (name.startsWith(prefix) ? product(shape) : 0)));
	const tokens = rows * tokensPerRow;
	const scores = 4 * rows * text.numHiddenLayers * tokensPerRow ** 2 * text.numAttentionHeads * text.headDim;
	const merger = (elements("visual.merger.") * patches) / vision.spatialMergeSize ** 2;
	return 2 * (elements("model.layers.") * tokens + elements("visual.blocks.") * patches + merger) + scores;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const product = (shape: readonly number[]) => shape.reduce((total, side) => total * side, 1);

/** The layer's input, both norms' outputs, the input of the second, q, k, v, the attention's weights and output, gate, up and their product. */
function decoderLayer(t: TextConfig, { rows, tokensPerRow }: BatchShape, operand: number): number {
	const n = rows * tokensPerRow;
	const keys = t.numKeyValueHeads * t.headDim;
	const floats = n * (3 * t.hiddenSize + 2 * keys) + rows * t.numAttentionHeads * tokensPerRow ** 2;
	const operands = n * (3 * t.hiddenSize + 3 * t.intermediateSize);
	return floats * FLOAT + operands * operand;
}

/** As a decoder layer; all heads have keys of their own, and attention is within windows, but for a few blocks. */
function visionBlock(
	v: VisionConfig,
	{ images, patches, full }: { images: number; patches: number; full: boolean },
	operand: number,
): number {
	if (images === 0) return 0;
	const window = (v.windowSize / v.patchSize) ** 2;
	const each = patches / images;
	// A picture's last windows are filled up to a whole one.
	const side = Math.ceil(Math.sqrt(each / window));
	const scores = v.numHeads * (full ? images * each ** 2 : images * side ** 2 * window ** 2);
	const places = full ? patches : images * side ** 2 * window;
	const floats = patches * 2 * v.hiddenSize + places * 4 * v.hiddenSize + patches * 2 * v.intermediateSize + scores;
	return floats * FLOAT + patches * (3 * v.hiddenSize + v.intermediateSize) * operand;
}
