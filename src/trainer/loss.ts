/**
 * Next-token cross-entropy in float32 over labelled tokens only, in chunks of rows.
 *
 * The hidden states at labelled positions are picked out *before* the language-model head, so logits are [N, V] and never [B, T, V]. Nor are
 * all of them there at once: a chunk's gradient is taken as soon as its loss is known, in the forward pass, and its logits go
 * before the next chunk's come. What stays for the backward pass is the gradient at the rows [N, C] and at the head's weights.
 *
 * Legend: N labelled tokens, n those of a chunk, C channels, V vocabulary.
 */
import { runAfter } from "../backend/graph/run-after.js";
import {
	add,
	concat,
	customGrad,
	engine,
	exp,
	type GradSaveFunc,
	gatherND,
	logSoftmax,
	mean,
	mul,
	neg,
	reshape,
	type Scalar,
	scatterND,
	slice,
	sub,
	sum,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	tensor2d,
	tidy,
	type Variable,
} from "../backend/tf.js";
import { onOwnTape } from "../nn/own-tape.js";

/** Most rows of logits at once: 128 MB for 131,072 tokens. */
const CHUNK_ROWS = 256;

/**
 * −Σ weight · ((1 − s) · log softmax(logits)[target] + s · mean of log softmax(logits)), with s the label smoothing, as transformers'
 * LabelSmoother has it. Its gradient is weight · (softmax − (1 − s) · onehot − s / V).
 *
 * @param logits [N, V]
 * @param targets [N] token ids, int32
 * @param weights [N] what each row counts: 0 for a row that is only there to fill up
 * @param smoothing s, from 0 (the default: −Σ weight · log softmax(logits)[target]) to below 1
 */
export function sumCrossEntropy(logits: Tensor2D, targets: Tensor1D, weights: Tensor1D, smoothing = 0): Scalar {
	const [rows, vocab] = logits.shape;
	if (targets.shape[0] !== rows) throw new Error(`sumCrossEntropy: ${rows} rows of logits but ${targets.shape} targets; give one per row`);
	const op = customGrad((...args) => {
		const [logits, save] = args as unknown as [Tensor2D, GradSaveFunc];
		const at = targetIndices(targets);
		const logProbs = logSoftmax(logits);
		save([logProbs, at, weights]);
		const gradFunc = (dy: Tensor, [logProbs, at, weights]: Tensor[]) => {
			// Not oneHot(): wasm's writes the integer 1's bits into a float32 result.
			const oneHot = scatterND(at, smoothing === 0 ? weights : mul(weights, 1 - smoothing), [rows, vocab]);
			const probs = smoothing === 0 ? exp(logProbs) : sub(exp(logProbs), smoothing / vocab);
			return mul(sub(mul(probs, reshape(weights, [rows, 1])), oneHot), dy);
		};
		const ofTargets = gatherND(logProbs, at);
		const smoothed = smoothing === 0 ? ofTargets : add(mul(ofTargets, 1 - smoothing), mul(mean(logProbs, -1), smoothing));
		return { value: neg(sum(mul(smoothed, weights))), gradFunc };
	});
	return op(logits) as Scalar;
}

/** [N, 2]: (row, target) */
export function targetIndices(targets: Tensor1D): Tensor2D {
	const [rows] = targets.shape;
	const row = tensor2d(
		Int32Array.from({ length: rows }, (_, i) => i),
		[rows, 1],
		"int32",
	);
	return concat([row, reshape(targets, [rows, 1])], 1) as Tensor2D;
}

/** Rows of a chunk: all chunks are of like size. */
export function chunkSize(rows: number, most = CHUNK_ROWS): number {
	return Math.ceil(rows / Math.ceil(rows / most));
}

export interface HeadGradientsOptions {
	/** Most rows at once; the result is the same. */
	chunkRows?: number;
	/** Of labels; see sumCrossEntropy. Default 0. */
	smoothing?: number;
}

/** The loss and where it comes from; all the caller's to dispose. */
export interface HeadGradients {
	loss: Scalar;
	/** [N, C] */
	rows: Tensor2D;
	/** One per variable; `undefined` where the head does not use it. */
	variables: (Tensor | undefined)[];
}

/**
 * The loss of rows of hidden states and its gradients, a chunk of rows at a time.
 *
 * @param head [n, C] → [n, V]
 * @param rows [N, C]
 * @param targets [N] token ids, int32
 * @param weights [N] see sumCrossEntropy
 * @param variables those that the head may use
 */
export function headGradients(
	head: (rows: Tensor2D) => Tensor2D,
	rows: Tensor2D,
	targets: Tensor1D,
	weights: Tensor1D,
	variables: readonly Variable[],
	{ chunkRows, smoothing = 0 }: HeadGradientsOptions = {},
): HeadGradients {
	const [n] = rows.shape;
	const chunk = chunkSize(n, chunkRows);
	const ofRows: Tensor2D[] = [];
	let total: Pick<HeadGradients, "loss" | "variables"> | undefined;
	for (let from = 0; from < n; from += chunk) {
		const size = Math.min(chunk, n - from);
		const [mine, wanted, counts] = tidy(() => [slice(rows, [from, 0], [size, -1]), slice(targets, from, size), slice(weights, from, size)]);
		const done = total ? [total.loss, ...present(total.variables)] : [];
		const next = runAfter(mine as Tensor2D, done); // a graph could otherwise do all chunks at once
		const loss = () => sumCrossEntropy(head(next), wanted as Tensor1D, counts as Tensor1D, smoothing);
		const { value, grads } = onOwnTape(() => engine().gradients(loss, [next, ...variables], undefined, true));
		ofRows.push(grads[0] as Tensor2D);
		total = addUp(total, { loss: value as Scalar, variables: grads.slice(1) });
		for (const tensor of [mine, wanted, counts, next]) tensor.dispose();
	}
	const joined = ofRows.length === 1 ? ofRows[0] : (concat(ofRows, 0) as Tensor2D);
	if (ofRows.length > 1) for (const part of ofRows) part.dispose();
	return { ...(total as HeadGradients), rows: joined };
}

type Totals = Pick<HeadGradients, "loss" | "variables">;

/** The sum of both, which are disposed. */
function addUp(a: Totals | undefined, b: Totals): Totals {
	if (!a) return b;
	return {
		loss: addAndDispose(a.loss, b.loss) as Scalar,
		variables: a.variables.map((gradient, i) => {
			const other = b.variables[i];
			return gradient && other ? addAndDispose(gradient, other) : (gradient ?? other);
		}),
	};
}

function addAndDispose(a: Tensor, b: Tensor): Tensor {
	const total = add(a, b);
	a.dispose();
	b.dispose();
	return total;
}

function present(tensors: readonly (Tensor | undefined)[]): Tensor[] {
	return tensors.filter((tensor) => tensor !== undefined);
}
