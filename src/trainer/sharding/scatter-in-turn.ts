/**
 * Within the graph of a micro-step: each bucket's gradient is summed into this process's shard as soon as it is there, while the backward pass goes on. Few
 * buckets are on their way at a time, or on a slow network all of them would lie flat in memory, sent and received. The last buckets come first, as the
 * backward pass does.
 */
import { runAfter } from "../../backend/graph/run-after.js";
import type { Tensor, Tensor1D } from "../../backend/tf.js";
import type { GradientScatter } from "../gradient-exchange.js";
import { flattenBucket, type ParameterBucket } from "../parameter-buckets.js";

/** One is sent while the next is made. */
const ON_THE_WAY = 2;

/**
 * @param gradients of each bucket's parameters; a missing one counts as zeros
 * @returns [shardLength] of each bucket: the sum over all processes
 */
export function scatterInTurn(
	gradients: readonly (readonly (Tensor | undefined)[])[],
	buckets: readonly ParameterBucket[],
	{ reduce }: GradientScatter,
): Tensor1D[] {
	const shards: Tensor1D[] = [];
	for (let i = buckets.length - 1; i >= 0; i--) {
		const before = shards.slice(ON_THE_WAY - 1, ON_THE_WAY);
		const turn = gradients[i].map((gradient) => gradient && runAfter(gradient, before));
		shards.unshift(reduce(flattenBucket(buckets[i], turn), i));
	}
	return shards;
}
