/**
 * What a training loop asks of the other processes of its run: sums. One process alone asks nobody.
 *
 * Every process makes the same updates of the same numbers, so that gradients are all that travels: once a step, summed over all of them, after
 * the last micro-batch. Buckets go together up to 64 MB, as one graph each time; what no process's gradient reached is not sent.
 */
import { createHash } from "node:crypto";
import type { WorkerGroup } from "../backend/cluster/worker-group.js";
import { type Compiled, compile } from "../backend/graph/compile.js";
import { type Tensor1D, tidy, zeros } from "../backend/tf.js";
import { type FlatGradients, flattenBucket, type ParameterBucket, replaceParameters, splitLike } from "./parameter-buckets.js";

/** Bytes of gradients that are there twice while they travel; a larger bucket goes alone. */
const MOST_BYTES = 64 << 20;

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
	/**
	 * Gradients summed over all processes: the same bits in each.
	 *
	 * @param gradients this process's, in the buckets' layout; they are disposed, or given back
	 */
	sumGradients(gradients: FlatGradients): Promise<FlatGradients>;
	/** Sets the parameters to those of the first process. */
	shareParameters(): Promise<void>;
	dispose(): void;
}

/** One process. */
export const ALONE: GradientExchange = {
	...{ rank: 0, size: 1 },
	sum: async (values) => [...values],
	sumGradients: async (gradients) => gradients,
	shareParameters: async () => undefined,
	dispose: () => undefined,
};

/** @param buckets the same in every process */
export function exchangeWith(group: WorkerGroup | undefined, buckets: readonly ParameterBucket[]): GradientExchange {
	return group ? new CollectiveExchange(group, buckets) : ALONE;
}

/** @throws in all processes, where a value (anything JSON) is not the same in all of them */
export async function agree(workers: Summing, what: string, value: unknown): Promise<void> {
	const digest = createHash("sha256").update(JSON.stringify(value)).digest().readUIntBE(0, 3); // 24 bits: exact in float32
	const all = await workers.sum(Array.from({ length: workers.size }, (_, i) => (i === workers.rank ? digest : 0)));
	const others = all.flatMap((other, i) => (other === all[0] ? [] : [i]));
	if (others.length === 0) return;
	throw new Error(`workers ${others.join(", ")} differ from worker 0 in their ${what}; start all with the same data and options`);
}

class CollectiveExchange implements GradientExchange {
	/** Of consecutive buckets that travel together: their numbers, and their all-reduce. */
	private readonly parcels: { of: number[]; reduce: Compiled<[FlatGradients], FlatGradients> }[];

	constructor(
		private readonly group: WorkerGroup,
		private readonly buckets: readonly ParameterBucket[],
	) {
		const firstKey = group.takeKeys(buckets.length);
		this.parcels = parcelsOf(buckets).map((of) => {
			const sum = (gradients: FlatGradients): FlatGradients =>
				gradients.map((gradient, i) => gradient && group.allReduce(gradient, firstKey + of[i]));
			// Which buckets are reached differs between steps with images and without.
			return { of, reduce: compile(sum, { name: "all_reduce", trace: true }) };
		});
	}

	get rank(): number {
		return this.group.rank;
	}

	get size(): number {
		return this.group.size;
	}

	sum(values: readonly number[]): Promise<number[]> {
		return this.group.sum(values);
	}

	async sumGradients(gradients: FlatGradients): Promise<FlatGradients> {
		const own = [...gradients];
		const sums: FlatGradients = own.map(() => undefined);
		try {
			const reached = await this.sum(own.map((gradient) => (gradient ? 1 : 0)));
			for (const { of, reduce } of this.parcels) {
				if (!of.some((i) => reached[i] > 0)) continue;
				for (const i of of) if (reached[i] > 0) own[i] ??= zeros([this.buckets[i].size]);
				const received = await this.group.together(() => reduce.runAsync([of.map((i) => own[i])]));
				for (const [j, i] of of.entries()) {
					own[i]?.dispose();
					own[i] = undefined;
					sums[i] = received[j];
				}
			}
			return sums;
		} catch (error) {
			for (const gradient of [...own, ...sums]) gradient?.dispose();
			throw error;
		}
	}

	async shareParameters(): Promise<void> {
		const first = this.rank === 0;
		for (const { of } of this.parcels) {
			const values: FlatGradients = this.buckets.map((bucket, i) => {
				if (!of.includes(i)) return undefined;
				return first ? flattenBucket(bucket, bucket.variables) : (zeros([bucket.size]) as Tensor1D);
			});
			const shared = await this.sumGradients(values);
			if (!first) for (const i of of) setParameters(this.buckets[i], shared[i] as Tensor1D);
			for (const values of shared) values?.dispose();
		}
	}

	dispose(): void {
		for (const { reduce } of this.parcels) reduce.dispose();
	}
}

function setParameters(bucket: ParameterBucket, flat: Tensor1D): void {
	const values = tidy(() => splitLike(flat, bucket.variables));
	replaceParameters(bucket, values);
}

function parcelsOf(buckets: readonly ParameterBucket[]): number[][] {
	const parcels: number[][] = [];
	let bytes = Number.POSITIVE_INFINITY;
	for (const [i, { size }] of buckets.entries()) {
		bytes += 4 * size;
		if (bytes > MOST_BYTES) {
			parcels.push([]);
			bytes = 4 * size;
		}
		parcels[parcels.length - 1].push(i);
	}
	return parcels;
}
