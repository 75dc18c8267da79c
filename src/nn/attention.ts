/**
 * Scaled dot-product attention, softmax(q kᵀ / √D + mask) v, as plain matMul/softmax (Einsum has no gradient in tfjs and
 * no wasm kernel). Long queries are taken a block at a time, so that the scores of a large image or a long prompt
 * (H · T · S numbers: 1.7 GB for one image of a megapixel) are never all in memory.
 *
 * Legend: B batch, T query tokens, S key tokens, H query heads, K key/value heads, G = H / K, D head dim.
 */
import { add, concat, div, exp, matMul, max, mul, reshape, slice, softmax, sub, sum, type Tensor, type Tensor4D } from "../backend/tf.js";

/** Added to a score to rule a key out. Finite, so that a row with no key at all (padding) gives numbers and not NaN. */
export const MASKED = -1e9;

/** Most scores in memory at once: 256 MB. */
const MAX_SCORES = 2 ** 26;

/** Most scores of a decode step for the softmax op by op. */
const SMALL = 2 ** 13;

/**
 * Grouped-query attention without repeating the shared heads: the G query heads of a key head are stacked along T.
 * @param q [B, H, T, D]
 * @param k [B, K, S, D]
 * @param v [B, K, S, D]
 * @param mask added to the scores: [B or 1, H or 1, T or 1, S]
 * @param maxScores most of the B·H·T·S scores to hold at once; the result is the same
 * @returns [B, H, T, D]
 */
export function attention(q: Tensor4D, k: Tensor4D, v: Tensor4D, mask?: Tensor, maxScores = MAX_SCORES): Tensor4D {
	const [b, h, t] = q.shape;
	const block = Math.max(1, Math.floor(maxScores / (b * h * k.shape[2])));
	if (t <= block) return attend(q, k, v, mask);
	const blocks: Tensor4D[] = [];
	for (let from = 0; from < t; from += block) {
		const rows = Math.min(block, t - from);
		const own = slice(q, [0, 0, from, 0], [-1, -1, rows, -1]);
		const perQuery = mask && mask.shape[2] === t;
		blocks.push(attend(own, k, v, perQuery ? slice(mask, [0, 0, from, 0], [-1, -1, rows, -1]) : mask));
	}
	return concat(blocks, 2);
}

function attend(q: Tensor4D, k: Tensor4D, v: Tensor4D, mask?: Tensor): Tensor4D {
	const [b, h, t, d] = q.shape;
	const [, kv, s] = k.shape;
	const grouped = reshape(mul(q, 1 / Math.sqrt(d)), [b, kv, (h / kv) * t, d]);
	let scores = reshape(matMul(grouped, k, false, true), [b, h, t, s]);
	if (mask) scores = add(scores, mask);
	const weights = reshape(t === 1 && scores.size <= SMALL ? smallSoftmax(scores) : softmax(scores), [b, kv, (h / kv) * t, s]);
	return reshape(matMul(weights, v), [b, h, t, d]);
}

/** softmax over the last axis op by op: oneDNN's takes 50 µs however small its operand, these five ops 9; from 2¹⁴ scores on it is the other way round. */
function smallSoftmax(x: Tensor): Tensor {
	const e = exp(sub(x, max(x, -1, true)));
	return div(e, sum(e, -1, true));
}
