/**
 * A batch from the host to the device: what a pass reads that depends on its tokens and images, as tensors. A captured pass has them as
 * inputs, so that one graph serves every batch of the same shapes.
 *
 * Legend: B batch, T tokens, N = B·T, M merged image tokens of all images.
 */
import {
	cast,
	equal,
	greaterEqual,
	mul,
	reshape,
	sub,
	type Tensor1D,
	type Tensor2D,
	type Tensor4D,
	tensor1d,
	tensor4d,
} from "../../backend/tf.js";
import { MASKED } from "../../nn/attention.js";
import { type RotaryTables, rotaryTables } from "../../nn/rotary.js";
import { type RowSelection, rowSelection } from "../../nn/select-rows.js";
import type { ModelInputs, PrepareOptions } from "../generative-model.js";
import type { Qwen2_5VLConfig } from "./config.js";
import { drawNoise } from "./embedding-noise.js";
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
	/** [B, 1, 1, T] 1 on tokens; absent where no padding precedes a token. */
	present?: Tensor4D;
	/** [B, 1, 1, T] of packed rows: which conversation a token is of, 0 on padding. */
	segments?: Tensor4D;
	/** [N, C] added to the text embeddings. */
	noise?: Tensor2D;
	/** [1] int32 of adapters' dropout. */
	dropoutSeed?: Tensor1D;
	/** The N text embeddings and the M image features to the N rows that the decoder reads; absent without images. */
	merge?: RowSelection;
};

/** A batch with its images. */
export type PreparedBatch = PreparedTokens & { vision?: VisionInputs };

/** @param frequencies [D/2] of the decoder's rotary embedding */
export function prepareTokens(
	inputs: ModelInputs,
	{ positionIds }: MropePositions,
	config: Qwen2_5VLConfig,
	frequencies: Float32Array,
	{ embeddingNoise, dropoutSeed }: PrepareOptions = {},
): PreparedTokens {
	const { inputIds, attentionMask, imageGridThw, segmentIds } = inputs;
	const [batch, length] = inputIds.shape;
	const merge = imageGridThw && mergeImages(inputIds.data, gridsOf(imageGridThw), config); // first: it may throw
	return {
		batch,
		length,
		ids: tensor1d(inputIds.data, "int32"),
		rotary: rotaryAt(positionIds, config, frequencies),
		present: presence(attentionMask.data, batch, length),
		...(segmentIds && { segments: tensor4d(segmentIds.data, [batch, 1, 1, length], "int32") }),
		...(embeddingNoise && { noise: drawNoise(inputs, embeddingNoise, config.text.hiddenSize) }),
		...(dropoutSeed !== undefined && { dropoutSeed: tensor1d([dropoutSeed | 0], "int32") }),
		...(merge && { merge }),
	};
}

/** M-RoPE positions [3, B, T] and deltas [B] of a batch. */
export function positionsOf({ inputIds, attentionMask, imageGridThw, segmentIds }: ModelInputs, config: Qwen2_5VLConfig): MropePositions {
	return mropePositions(inputIds.data, attentionMask.data, inputIds.shape, {
		imageTokenId: config.imageTokenId,
		videoTokenId: config.videoTokenId,
		spatialMergeSize: config.vision.spatialMergeSize,
		tokensPerSecond: config.vision.tokensPerSecond,
		imageGridThw: gridsOf(imageGridThw),
		segmentIds: segmentIds?.data,
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

/** Where a row has tokens, [B, 1, 1, T]; undefined where no padding precedes a token. */
function presence(attentionMask: Int32Array, batch: number, length: number): Tensor4D | undefined {
	const leftPadded = attentionMask.some((m, i) => m === 1 && i % length > 0 && attentionMask[i - 1] === 0);
	return leftPadded ? tensor4d(Float32Array.from(attentionMask), [batch, 1, 1, length]) : undefined;
}

/**
 * What may look where, made in the pass: on the host it would be B·T² numbers.
 * @param present [B, 1, 1, T] 1 on tokens; absent where padding comes last, if at all
 * @param segments [B, 1, 1, T] of packed rows: tokens of other conversations are out of sight, too
 * @returns 0 where a token may look, MASKED at later tokens and padding: [B or 1, 1, T, T]
 */
export function causalMask(length: number, present?: Tensor4D, segments?: Tensor4D): Tensor4D {
	const places = Int32Array.from({ length }, (_, t) => t);
	const causal = cast(greaterEqual(tensor4d(places, [1, 1, length, 1], "int32"), tensor4d(places, [1, 1, 1, length], "int32")), "float32");
	const seen = present ? mul(causal, present) : causal;
	if (!segments) return mul(sub(seen, 1), -MASKED);
	const ofQueries = reshape(segments, [segments.shape[0], 1, length, 1]);
	return mul(sub(mul(seen, cast(equal(ofQueries, segments), "float32")), 1), -MASKED);
}
