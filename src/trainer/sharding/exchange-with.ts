/** How the processes of a run exchange gradients, by ZeRO's stage. */
import type { WorkerGroup } from "../../backend/cluster/worker-group.js";
import { compile } from "../../backend/graph/compile.js";
import { add, type Tensor1D, zeros } from "../../backend/tf.js";
import { CollectiveExchange } from "../collective-exchange.js";
import { ALONE, type GradientExchange, type GradientScatter } from "../gradient-exchange.js";
import type { FlatGradients, ParameterBucket } from "../parameter-buckets.js";
import { reduceScatter, shardLength } from "./shards.js";

/** 0: all is whole everywhere; 1: optimizer states are sharded; 2: gradients, too. */
export const ZERO_STAGES = [0, 1, 2] as const;
export type ZeroStage = (typeof ZERO_STAGES)[number];

/**
 * From stage 1 on a process needs the sums of its shards only. With 1 they are exchanged after the last micro-batch, from whole gradients of its own;
 * with 2 in each micro-step's graph, so that a bucket's gradient is there until it is exchanged and no longer.
 *
 * @param group undefined: one process
 * @param buckets the same in every process
 */
export function exchangeWith(group: WorkerGroup | undefined, buckets: readonly ParameterBucket[], stage: ZeroStage): GradientExchange {
	if (!group) return ALONE;
	const whole = new CollectiveExchange(group, buckets);
	if (stage === 0) return whole;
	const shards = new CollectiveExchange(group, buckets, (gradient, key) => reduceScatter(gradient, group, key), true);
	const scatter = stage === 2 ? scatterOver(group, buckets) : undefined;
	return {
		...{ rank: group.rank, size: group.size, sharded: true, scatter },
		sum: (values) => group.sum(values),
		sumGradients: (gradients) => shards.sumGradients(gradients),
		shareParameters: () => whole.shareParameters(),
		dispose() {
			for (const one of [whole, shards, scatter]) one?.dispose();
		},
	};
}

function scatterOver(group: WorkerGroup, buckets: readonly ParameterBucket[]): GradientScatter & { dispose(): void } {
	const firstKey = group.takeKeys(buckets.length);
	const reduce = (gradient: Tensor1D, bucket: number) => reduceScatter(gradient, group, firstKey + bucket);
	const withoutRows = compile(
		(shards: FlatGradients): FlatGradients =>
			shards.map((shard, i) => shard && (add(shard, reduce(zeros([buckets[i].size]) as Tensor1D, i)) as Tensor1D)),
		{ name: "micro_step_without_rows", trace: true },
	);
	return {
		reduce,
		together: (work) => group.together(work),
		zeros: () => buckets.map(({ size }) => zeros([shardLength(size, group.size)]) as Tensor1D),
		withoutRows: (shards) => group.together(() => withoutRows.runAsync([shards])),
		dispose: () => withoutRows.dispose(),
	};
}
