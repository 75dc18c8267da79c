/**
 * Scaled dot-product attention, softmax(q kᵀ / √D + mask) v, as plain matMul/softmax (Einsum has no gradient in tfjs and
 * no wasm kernel).
 *
 * Legend: B batch, T query tokens, S key tokens, H query heads, K key/value heads, G = H / K, D head dim.
 */
import { add, matMul, mul, reshape, softmax, type Tensor, type Tensor4D } from "../backend/tf.js";

/** Added to a score to rule a key out. Finite, so that a row with no key at all (padding) gives numbers and not NaN. */
export const MASKED = -1e9;

/**
 * Grouped-query attention without repeating the shared heads: the G query heads of a key head are stacked along T.
 * @param q [B, H, T, D]
 * @param k [B, K, S, D]
 * @param v [B, K, S, D]
 * @param mask added to the scores: broadcastable to [B, H, T, S]
 * @returns [B, H, T, D]
 */
export function attention(q: Tensor4D, k: Tensor4D, v: Tensor4D, mask?: Tensor): Tensor4D {
	const [b, h, t, d] = q.shape;
	const [, kv, s] = k.shape;
	const grouped = reshape(mul(q, 1 / Math.sqrt(d)), [b, kv, (h / kv) * t, d]);
	let scores = reshape(matMul(grouped, k, false, true), [b, h, t, s]);
	if (mask) scores = add(scores, mask);
	const weights = reshape(softmax(scores), [b, kv, (h / kv) * t, s]);
	return reshape(matMul(weights, v), [b, h, t, d]);
}
