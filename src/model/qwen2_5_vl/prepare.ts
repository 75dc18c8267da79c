/**
 * A batch from the host to the device: what a pass reads that depends on its tokens and images, as tensors. A captured pass has them as
 * inputs, so that one graph serves every batch of the same shapes.
 *
 * Legend: B batch, T tokens, N = B·T, M merged image tokens of all images.
 */
import { type Tensor1D, type Tensor4D, tensor1d, tensor4d } from "../../backend/tf.js";
import { MASKED } from "../../nn/attention.js";
import { type RotaryTables, rotaryTables } from "../../nn/rotary.js";
import { type RowSelection, rowSelection } from "../../nn/select-rows.js";
import type { ModelInputs } from "../generative-model.js";
import type { Qwen2_5VLConfig } from "./config.js";
import { type MropePositions, mropeAngles, mropePositions } from "./mrope.js";
import type { VisionInputs } from "./vision.js";

/** The tokens of a batch; the tensors are the caller's to dispose. */
export type PreparedTokens = {
	batch: number;
	length: number;
	/** [N] */
	ids: Tensor1D;
	/** [N, 1, D] */
	rotary: RotaryTables;
	/** 0 where a token may look, MASKED elsewhere: [B or 1, 1, T, T]. */
	mask: Tensor4D;
	/** The N text embeddings and the M image features to the N rows that the decoder reads; absent without images. */
	merge?: RowSelection;
};

/** A batch with its images. */
export type PreparedBatch = PreparedTokens & { vision?: VisionInputs };

/** @param frequencies [D/2] of the decoder's rotary embedding */
export function prepareTokens(
	{ inputIds, attentionMask, imageGridThw }: ModelInputs,
	{ positionIds }: MropePositions,
	config: Qwen2_5VLConfig,
	frequencies: Float32Array,
): PreparedTokens {
	const [batch, length] = inputIds.shape;
	const merge = imageGridThw && mergeImages(inputIds.data, gridsOf(imageGridThw), config); // first: it may throw
	return {
		batch,
		length,
		ids: tensor1d(inputIds.data, "int32"),
		rotary: rotaryAt(positionIds, config, frequencies),
		mask: causalMask(attentionMask.data, batch, length),
		...(merge && { merge }),
	};
}

/** M-RoPE positions [3, B, T] and deltas [B] of a batch. */
export function positionsOf({ inputIds, attentionMask, imageGridThw }: ModelInputs, config: Qwen2_5VLConfig): MropePositions {
	return mropePositions(inputIds.data, attentionMask.data, inputIds.shape, {
		imageTokenId: config.imageTokenId,
		videoTokenId: config.videoTokenId,
		spatialMergeSize: config.vision.spatialMergeSize,
		tokensPerSecond: config.vision.tokensPerSecond,
		imageGridThw: gridsOf(imageGridThw),
	});
}

/** @param positionIds [3, N] */
export function rotaryAt(positionIds: Int32Array, config: Qwen2_5VLConfig, frequencies: Float32Array): RotaryTables {
	return rotaryTables(mropeAngles(positionIds, frequencies, config.text.mropeSection), config.text.headDim / 2);
}

/** [t, h, w] of each image, in patches. */
export function gridsOf(imageGridThw: ModelInputs["imageGridThw"]): number[][] {
	if (!imageGridThw) return [];
	const { data, shape } = imageGridThw;
	return Array.from({ length: shape[0] }, (_, i) => Array.from(data.subarray(3 * i, 3 * i + 3)));
}

/** Image features, behind the text embeddings, take the places of the image tokens. */
function mergeImages(ids: Int32Array, grids: number[][], { imageTokenId, vision }: Qwen2_5VLConfig): RowSelection {
	const features = grids.reduce((sum, [t, h, w]) => sum + (t * h * w) / vision.spatialMergeSize ** 2, 0);
	let image = ids.length;
	const index = ids.map((id, n) => (id === imageTokenId ? image++ : n));
	if (image - ids.length !== features) {
		throw new Error(`the batch has ${image - ids.length} image tokens, but its images give ${features}`);
	}
	return rowSelection(index, ids.length + features);
}

/** 0 where a token may look, MASKED at later tokens and padding: [B, 1, T, T], or [1, 1, T, T] where no padding precedes a token. */
function causalMask(attentionMask: Int32Array, batch: number, length: number): Tensor4D {
	const leftPadded = attentionMask.some((m, i) => m === 1 && i % length > 0 && attentionMask[i - 1] === 0);
	const rows = leftPadded ? batch : 1;
	const mask = new Float32Array(rows * length * length);
	for (let b = 0; b < rows; b++) {
		for (let t = 0; t < length; t++) {
			const row = (b * length + t) * length;
			mask.fill(MASKED, row + t + 1, row + length);
			if (leftPadded) for (let s = 0; s <= t; s++) if (!attentionMask[b * length + s]) mask[row + s] = MASKED;
		}
	}
	return tensor4d(mask, [rows, 1, length, length]);
}
