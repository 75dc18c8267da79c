/**
 * Every process makes the same updates of the same numbers, so that gradients are all that travels: once a step, summed over all of them, after
 * the last micro-batch. Buckets go together up to 64 MB, as one graph each time; what no process's gradient reached is not sent.
 */
import type { WorkerGroup } from "../backend/cluster/worker-group.js";
import { type Compiled, compile } from "../backend/graph/compile.js";
import { type Tensor1D, tidy, zeros } from "../backend/tf.js";
import type { GradientExchange } from "./gradient-exchange.js";
import { type FlatGradients, flattenBucket, type ParameterBucket, replaceParameters, splitLike } from "./parameter-buckets.js";

/** Bytes of gradients that are there twice while they travel; a larger bucket goes alone. */
const MOST_BYTES = 64 << 20;

/** What a graph makes of one bucket's gradient; `key` is this bucket's. */
export type Combine = (gradient: Tensor1D, key: number) => Tensor1D;

export class CollectiveExchange implements GradientExchange {
	/** Of consecutive buckets that travel together: their numbers, and their exchange. */
	private readonly parcels: { of: number[]; exchange: Compiled<[FlatGradients], FlatGradients> }[];

	/**
	 * @param buckets the same in every process
	 * @param combine default: the sum
	 * @param sharded whether `combine` gives shards
	 */
	constructor(
		private readonly group: WorkerGroup,
		private readonly buckets: readonly ParameterBucket[],
		combine: Combine = (gradient, key) => group.allReduce(gradient, key),
		readonly sharded = false,
	) {
		const firstKey = group.takeKeys(buckets.length);
		this.parcels = parcelsOf(buckets).map((of) => {
			const exchange = (gradients: FlatGradients): FlatGradients =>
				gradients.map((gradient, i) => gradient && combine(gradient, firstKey + of[i]));
			// Which buckets are reached differs between steps with images and without.
			return { of, exchange: compile(exchange, { name: "exchange_gradients", trace: true }) };
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
			for (const { of, exchange } of this.parcels) {
				if (!of.some((i) => reached[i] > 0)) continue;
				for (const i of of) if (reached[i] > 0) own[i] ??= zeros([this.buckets[i].size]);
				const received = await this.group.together(() => exchange.runAsync([of.map((i) => own[i])]));
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
		for (const { exchange } of this.parcels) exchange.dispose();
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
