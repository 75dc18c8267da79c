/**
 * Log-probabilities of labelled tokens, without gradients: a chunk of rows at a time, so that not all logits are there at once.
 *
 * Legend: N labelled tokens, n those of a chunk, C channels, V vocabulary.
 */
import { runAfter } from "../backend/graph/run-after.js";
import { concat, gatherND, logSoftmax, slice, type Tensor1D, type Tensor2D, tidy } from "../backend/tf.js";
import { chunkSize, targetIndices } from "./loss.js";

/**
 * @param head [n, C] → [n, V]
 * @param rows [N, C] hidden states
 * @param targets [N] token ids, int32
 * @param chunkRows most rows at once; the result is the same
 * @returns [N] log softmax(head(rows))[target]; the caller's to dispose
 */
export function tokenLogProbs(head: (rows: Tensor2D) => Tensor2D, rows: Tensor2D, targets: Tensor1D, chunkRows?: number): Tensor1D {
	const [n] = rows.shape;
	const chunk = chunkSize(n, chunkRows);
	const parts: Tensor1D[] = [];
	for (let from = 0; from < n; from += chunk) {
		const size = Math.min(chunk, n - from);
		const part = tidy(() => {
			const mine = runAfter(slice(rows, [from, 0], [size, -1]), parts.slice(-1)); // a graph could otherwise do all chunks at once
			return gatherND(logSoftmax(head(mine)), targetIndices(slice(targets, from, size))) as Tensor1D;
		});
		parts.push(part);
	}
	if (parts.length === 1) return parts[0];
	const joined = concat(parts);
	for (const part of parts) part.dispose();
	return joined;
}
