/**
 * A micro-batch on the device, in one of few shapes, so that a run needs few graphs.
 *
 * The length of the rows is rounded up to a sixteenth of itself at most, the number of labelled tokens to a quarter (only the head works on
 * them), both to powers of two. Places to spare among the labelled are given to other tokens with the weight 0.
 *
 * Legend: B batch, T tokens, C channels, N labelled tokens with those to spare.
 */
import { reshape, type Tensor1D, type Tensor2D, tensor1d } from "../backend/tf.js";
import type { EncodedConversation, ForwardOptions, PreparedInputs, PrepareOptions, TrainableModel } from "../model/generative-model.js";
import { type RowSelection, rowSelection, selectRows } from "../nn/select-rows.js";
import { roundUp, sizeStep } from "../nn/size-step.js";
import { collateExamples } from "./collate.js";

/** A micro-batch and which of its tokens are labelled; the tensors are the caller's to dispose. */
export type LabelledTokens = {
	prepared: PreparedInputs;
	/** N of the B·T positions: those whose next token is labelled. */
	labelled: RowSelection;
	/** [N] that next token, int32. */
	targets: Tensor1D;
};

export type LabelledBatch = LabelledTokens & {
	/** [N] 1 / the labelled tokens of the whole step, or 0. */
	weights: Tensor1D;
};

export interface LabelledBatchOptions extends PrepareOptions {
	/** Labelled tokens of the whole step: losses of its micro-batches add up to the mean over them. */
	labelTokens: number;
}

export function labelledBatch(
	model: TrainableModel,
	rows: readonly { encoded: EncodedConversation }[],
	{ labelTokens, ...options }: LabelledBatchOptions,
): LabelledBatch {
	const { tokens, positions, size } = labelledTokens(model, rows, options);
	return { ...tokens, weights: tensor1d(new Float32Array(size).fill(1 / labelTokens, 0, positions.length)) };
}

/**
 * The batch, and where on it the labelled tokens are.
 * @returns the batch on the device, `positions` b·T + t of the labelled tokens that count, `length`: T, `size`: N
 */
export function labelledTokens(
	model: TrainableModel,
	rows: readonly { encoded: EncodedConversation }[],
	options: PrepareOptions,
): { tokens: LabelledTokens; positions: Int32Array; length: number; size: number } {
	const { inputs, positions, targets } = collateExamples(rows, model.processor, lengthStep(longest(rows)));
	const [batch, length] = inputs.inputIds.shape;
	const n = positions.length;
	const size = Math.min(roundUp(n, sizeStep(n, 4)), batch * length);
	const padded = new Int32Array(size);
	padded.set(targets);
	const tokens = {
		prepared: model.prepare(inputs, options),
		// Always "leaves out": whether a batch happens to be labelled throughout shall not make a graph of its own.
		labelled: { ...rowSelection(fillUp(positions, size), batch * length), leavesOut: true },
		targets: tensor1d(padded, "int32"),
	};
	return { tokens, positions, length, size };
}

/** @returns [N, C] final hidden states at the labelled places, differentiable */
export function labelledStates(model: TrainableModel, { prepared, labelled }: LabelledTokens, options?: ForwardOptions): Tensor2D {
	const hidden = model.hiddenStates(prepared, options); // [B, T, C]
	return selectRows(reshape(hidden, [-1, hidden.shape[2]]) as Tensor2D, labelled);
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
