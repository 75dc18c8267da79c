/** What a training loop asks of the other processes of its run: sums. One process alone asks nobody. */
import { createHash } from "node:crypto";
import { atRank } from "../backend/cluster/at-rank.js";
import type { Tensor1D } from "../backend/tf.js";
import type { FlatGradients } from "./parameter-buckets.js";

/** The processes of a run, as far as they add up numbers. */
export interface Summing {
	/** This process's number, from 0. The first one writes what a run writes. */
	readonly rank: number;
	/** Processes. */
	readonly size: number;
	/** Sums over all processes, in float32. */
	sum(values: readonly number[]): Promise<number[]>;
}

export interface GradientExchange extends Summing {
	/** Whether a process is given its shard of each bucket's sum, and not the sum. */
	readonly sharded: boolean;
	/** Where gradients are summed in the graphs of the micro-steps, and not after the last. */
	readonly scatter?: GradientScatter;
	/**
	 * Gradients summed over all processes: the same bits in each, or its shards.
	 *
	 * @param gradients this process's, in the buckets' layout; they are disposed, or given back
	 */
	sumGradients(gradients: FlatGradients): Promise<FlatGradients>;
	/** Sets the parameters to those of the first process. */
	shareParameters(): Promise<void>;
	dispose(): void;
}

/** Sums over all processes within each micro-step: all of them make as many, and all buckets travel in each. */
export interface GradientScatter {
	/** Part of a graph. @param gradient [bucket.size] @returns this process's shard of the sum */
	reduce(gradient: Tensor1D, bucket: number): Tensor1D;
	/** Runs such a graph. @throws WorkerLostError */
	together<T>(work: () => Promise<T>): Promise<T>;
	/** Shards to begin with: zeros; the caller's. */
	zeros(): FlatGradients;
	/** A micro-step of a process that has no more rows. @param shards so far, the caller's @returns with what the others add */
	withoutRows(shards: FlatGradients): Promise<FlatGradients>;
}

/** One process. */
export const ALONE: GradientExchange = {
	...{ rank: 0, size: 1, sharded: false },
	sum: async (values) => [...values],
	sumGradients: async (gradients) => gradients,
	shareParameters: async () => undefined,
	dispose: () => undefined,
};

/** @throws in all processes, where a value (anything JSON) is not the same in all of them */
export async function agree(workers: Summing, what: string, value: unknown): Promise<void> {
	const digest = createHash("sha256").update(JSON.stringify(value)).digest().readUIntBE(0, 3); // 24 bits: exact in float32
	const all = await workers.sum(atRank(workers, digest));
	const others = all.flatMap((other, i) => (other === all[0] ? [] : [i]));
	if (others.length === 0) return;
	throw new Error(`workers ${others.join(", ")} differ from worker 0 in their ${what}; start all with the same data and options`);
}

/** What the first process answers, in all of them. */
export async function firstSays(workers: Summing, answer: boolean): Promise<boolean> {
	const [yes] = await workers.sum([workers.rank === 0 && answer ? 1 : 0]);
	return yes > 0;
}
