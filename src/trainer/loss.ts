/**
 * Next-token cross-entropy in float32 over labelled tokens only.
 *
 * The hidden states at labelled positions are picked out *before* the language-model head, so logits are [N, V] and never
 * [B, T, V]. The loss is a sum: whoever accumulates micro-batches divides by the tokens of the whole batch, so that a long
 * answer weighs its length whichever micro-batch it fell into (transformers' `num_items_in_batch`).
 *
 * Legend: B batch, T tokens, C channels, N labelled tokens, V vocabulary.
 */
import {
	add,
	customGrad,
	exp,
	type GradSaveFunc,
	gatherND,
	logSoftmax,
	mul,
	neg,
	ones,
	reshape,
	type Scalar,
	scatterND,
	sub,
	sum,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	tensor2d,
	tidy,
	type Variable,
	variableGrads,
} from "../backend/tf.js";
import type { ForwardOptions, PreparedInputs, TrainableModel } from "../model/generative-model.js";
import { type RowSelection, rowSelection, selectRows } from "../nn/select-rows.js";
import type { TrainingBatch } from "./collate.js";
import { type FlatGradients, flattenBucket, type ParameterBucket } from "./parameter-buckets.js";

/**
 * −Σ log softmax(logits)[target], with softmax − onehot as its gradient.
 *
 * @param logits [N, V]
 * @param targets N token ids
 * @returns the sum over the N rows
 */
export function sumCrossEntropy(logits: Tensor2D, targets: Int32Array): Scalar {
	const [rows, vocab] = logits.shape;
	if (targets.length !== rows) throw new Error(`sumCrossEntropy: ${rows} rows of logits but ${targets.length} targets; give one per row`);
	const op = customGrad((...args) => {
		const [logits, save] = args as unknown as [Tensor2D, GradSaveFunc];
		const at = targetIndices(targets);
		const logProbs = logSoftmax(logits);
		save([logProbs, at]);
		const gradFunc = (dy: Tensor, [logProbs, at]: Tensor[]) => {
			// Not oneHot(): wasm's writes the integer 1's bits into a float32 result.
			const oneHot = scatterND(at, ones([rows]), [rows, vocab]);
			return mul(sub(exp(logProbs), oneHot), dy);
		};
		return { value: neg(sum(gatherND(logProbs, at))), gradFunc };
	});
	return op(logits) as Scalar;
}

/** [N, 2]: (row, target) */
function targetIndices(targets: Int32Array): Tensor2D {
	const indices = new Int32Array(targets.length * 2);
	targets.forEach((target, row) => {
		indices[2 * row] = row;
		indices[2 * row + 1] = target;
	});
	return tensor2d(indices, [targets.length, 2], "int32");
}

/** @returns the summed negative log-likelihood of the batch's labelled tokens; differentiable, to be called inside a tidy. */
function batchNll(
	model: TrainableModel,
	prepared: PreparedInputs,
	labelled: RowSelection,
	targets: Int32Array,
	options: ForwardOptions,
): Scalar {
	const hidden = model.hiddenStates(prepared, options); // [B, T, C]
	const flat = reshape(hidden, [-1, hidden.shape[2]]) as Tensor2D; // [B·T, C]
	return sumCrossEntropy(model.lmHead(selectRows(flat, labelled)), targets);
}

/** A micro-batch's share of the loss and of its gradients; both the caller's to dispose. */
export type LossAndGradients = { loss: Scalar; gradients: FlatGradients };

/**
 * @param labelTokens labelled tokens of the whole accumulated batch: shares add up to the mean over them
 * @param buckets the layout of the gradients
 */
export function lossAndGradients(
	model: TrainableModel,
	batch: TrainingBatch,
	labelTokens: number,
	buckets: readonly ParameterBucket[],
	options: ForwardOptions = {},
): LossAndGradients {
	const variables: Variable[] = buckets.flatMap((bucket) => bucket.variables);
	return tidy(() => {
		// Before the tape: what is made on it is gone when its forward pass is over, and checkpointing reads them again in the backward pass.
		const prepared = model.prepare(batch.inputs);
		const [b, t] = batch.inputs.inputIds.shape;
		const labelled = rowSelection(batch.positions, b * t);
		const share = () => mul(batchNll(model, prepared, labelled, batch.targets, options), 1 / labelTokens) as Scalar;
		const { value: loss, grads } = variableGrads(share, variables);
		const gradients = buckets.map((bucket) => {
			const own = bucket.variables.map((variable): Tensor | undefined => grads[variable.name]);
			return own.some((gradient) => gradient) ? flattenBucket(bucket, own) : undefined;
		});
		return { loss, gradients };
	});
}

/** Adds up two micro-batches' gradients and disposes both. */
export function addGradients(a: FlatGradients, b: FlatGradients): FlatGradients {
	return a.map((gradient, i) => {
		const other = b[i];
		if (!gradient || !other) return gradient ?? other;
		const total = add(gradient, other) as Tensor1D;
		gradient.dispose();
		other.dispose();
		return total;
	});
}
