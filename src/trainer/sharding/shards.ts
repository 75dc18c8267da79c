/**
 * A flat vector cut into one shard for each process, and the two exchanges of ZeRO (Rajbhandari et al. 2020) on it: reduce-scatter (each process gets its
 * shard of the sum) and all-gather (each process gets all shards).
 *
 * Shards are equally long, the last ones filled up with zeros. TensorFlow's CollectiveReduceScatterV2 exists for NCCL only, and the length of
 * CollectiveGatherV2's result is not known when a graph is traced. Both are written with CollectiveAllToAllV2, which has a CPU kernel, too, and sends
 * what a ring would: (N − 1) / N of the vector's bytes per process, each way. It holds the vector once more while it travels.
 */
import type { WorkerGroup } from "../../backend/cluster/worker-group.js";
import { pad, reshape, slice, sum, type Tensor1D, type Tensor2D, tidy, tile, zeros } from "../../backend/tf.js";

/** Elements of a shard. */
export const shardLength = (size: number, processes: number) => Math.ceil(size / processes);

/** Where a process's shard lies in the vector: its first element, and how many are not filling. */
export function shardRange(size: number, processes: number, rank: number): { start: number; length: number } {
	const each = shardLength(size, processes);
	const start = Math.min(size, rank * each);
	return { start, length: Math.min(each, size - start) };
}

/** @returns [shardLength] this process's; for a graph, as the others here */
export function ownShard(flat: Tensor1D, { size: processes, rank }: WorkerGroup): Tensor1D {
	const each = shardLength(flat.size, processes);
	const { start, length } = shardRange(flat.size, processes, rank);
	if (length === 0) return zeros([each]);
	return fillUp(slice(flat, [start], [length]), each);
}

/** The same of values on the host. */
export function ownValues(values: Float32Array, { size: processes, rank }: WorkerGroup): Float32Array {
	const { start, length } = shardRange(values.length, processes, rank);
	const own = new Float32Array(shardLength(values.length, processes));
	own.set(values.subarray(start, start + length));
	return own;
}

/**
 * @param flat [n], as long in each process
 * @param key of `group.takeKeys`, for this length only
 * @returns [shardLength] of the sum over all processes
 */
export function reduceScatter(flat: Tensor1D, group: WorkerGroup, key: number): Tensor1D {
	return tidy(() => {
		const each = shardLength(flat.size, group.size);
		const shards = reshape(fillUp(flat, each * group.size), [group.size, each]) as Tensor2D;
		return sum(group.allToAll(shards, key), 0);
	});
}

/**
 * @param shard [shardLength] each process's own
 * @param size n: elements of the whole vector
 * @param key as `reduceScatter`'s; one key serves one of both
 * @returns [n]
 */
export function allGather(shard: Tensor1D, size: number, group: WorkerGroup, key: number): Tensor1D {
	return tidy(() => {
		const forEach = tile(reshape(shard, [1, shard.size]), [group.size, 1]) as Tensor2D;
		return slice(reshape(group.allToAll(forEach, key), [group.size * shard.size]) as Tensor1D, [0], [size]);
	});
}

function fillUp(flat: Tensor1D, length: number): Tensor1D {
	return flat.size === length ? flat : pad(flat, [[0, length - flat.size]]);
}
