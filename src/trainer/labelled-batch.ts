/**
 * A micro-batch on the device, in one of few shapes, so that a run needs few graphs.
 *
 * The length of the rows is rounded up to a sixteenth of itself at most, the number of labelled tokens to a quarter (only the head works on
 * them), both to powers of two. Places to spare among the labelled are given to other tokens with the weight 0.
 *
 * Legend: B batch, T tokens, N labelled tokens with those to spare.
 */
import { type Tensor1D, tensor1d } from "../backend/tf.js";
import type { EmbeddingNoise, EncodedConversation, PreparedInputs, TrainableModel } from "../model/generative-model.js";
import { type RowSelection, rowSelection } from "../nn/select-rows.js";
import { roundUp, sizeStep } from "../nn/size-step.js";
import { collateExamples } from "./collate.js";

/** The tensors are the caller's to dispose. */
export type LabelledBatch = {
	prepared: PreparedInputs;
	/** N of the B·T positions: those whose next token is labelled. */
	labelled: RowSelection;
	/** [N] that next token, int32. */
	targets: Tensor1D;
	/** [N] 1 / the labelled tokens of the whole step, or 0. */
	weights: Tensor1D;
};

export interface LabelledBatchOptions {
	/** Labelled tokens of the whole step: losses of its micro-batches add up to the mean over them. */
	labelTokens: number;
	embeddingNoise?: EmbeddingNoise;
	/** Of an adapter's dropout (uint32). */
	dropoutSeed?: number;
}

export function labelledBatch(
	model: TrainableModel,
	rows: readonly { encoded: EncodedConversation }[],
	{ labelTokens, embeddingNoise, dropoutSeed }: LabelledBatchOptions,
): LabelledBatch {
	const { inputs, positions, targets } = collateExamples(rows, model.processor, lengthStep(longest(rows)));
	const [batch, length] = inputs.inputIds.shape;
	const n = positions.length;
	const size = Math.min(roundUp(n, sizeStep(n, 4)), batch * length);
	const padded = new Int32Array(size);
	padded.set(targets);
	return {
		prepared: model.prepare(inputs, { embeddingNoise, dropoutSeed }),
		// Always "leaves out": whether a batch happens to be labelled throughout shall not make a graph of its own.
		labelled: { ...rowSelection(fillUp(positions, size), batch * length), leavesOut: true },
		targets: tensor1d(padded, "int32"),
		weights: tensor1d(new Float32Array(size).fill(1 / labelTokens, 0, n)),
	};
}

/** Positions that a batch of these rows has, those that only fill up included. */
export function paddedSize(rows: readonly { encoded: EncodedConversation }[]): number {
	return rows.length * paddedLength(longest(rows));
}

/** Tokens of the rows of a batch whose longest has `length`. */
export function paddedLength(length: number): number {
	return roundUp(length, lengthStep(length));
}

const longest = (rows: readonly { encoded: EncodedConversation }[]) => Math.max(...rows.map(({ encoded }) => encoded.inputIds.length));
const lengthStep = (length: number) => sizeStep(length, 16);

/** The positions and as many others: the first that are not among them. */
function fillUp(positions: Int32Array, size: number): Int32Array {
	const filled = new Int32Array(size);
	filled.set(positions);
	const taken = new Set(positions);
	for (let n = positions.length, row = 0; n < size; row++) if (!taken.has(row)) filled[n++] = row;
	return filled;
}
