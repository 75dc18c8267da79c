/**
 * A step's gradients as they add up: over its micro-batches in this process, and over all processes. The graph of a micro-step adds to the sums so far;
 * what it gives is taken over here.
 */
import { addN, dispose, type Tensor1D, tidy, zeros } from "../backend/tf.js";
import type { GradientExchange, GradientScatter } from "./gradient-exchange.js";
import type { SharesAndGradients } from "./micro-step.js";
import type { FlatGradients, ParameterBucket } from "./parameter-buckets.js";

export interface GradientSums {
	/** What the next micro-step is given. */
	readonly soFar: FlatGradients;
	/** Takes over what it made of them. */
	add(made: Omit<SharesAndGradients, "shares">): void;
	/** After this process's last micro-batch: the sums over all processes, or its shards of them; the caller's to dispose. */
	finish(): Promise<FlatGradients>;
	dispose(): void;
}

/**
 * @param buckets the layout
 * @param batches this process's micro-batches in this step
 * @param rounds the most that any process has
 */
export function gradientSums(
	exchange: GradientExchange,
	buckets: readonly ParameterBucket[],
	batches: number,
	rounds: number,
): GradientSums {
	const { scatter } = exchange;
	return scatter ? new SumsOfShards(exchange, scatter, rounds) : new WholeSums(exchange, buckets, batches);
}

/** Exchanged after the last micro-batch. */
class WholeSums implements GradientSums {
	soFar: FlatGradients;
	private readonly reached = new Set<number>();

	constructor(
		private readonly exchange: GradientExchange,
		buckets: readonly ParameterBucket[],
		batches: number,
	) {
		// Sums begin at zeros, so that the first micro-batch needs no graph of its own; alone, it is the sum.
		this.soFar = buckets.map(({ size }) => (batches > 1 ? zeros([size]) : undefined));
	}

	add({ gradients }: Omit<SharesAndGradients, "shares">): void {
		this.soFar = gradients.map((sum, i) => {
			if (!sum) return this.soFar[i];
			this.reached.add(i);
			this.soFar[i]?.dispose();
			return sum;
		});
	}

	async finish(): Promise<FlatGradients> {
		const own = this.soFar.map((sum, i) => (this.reached.has(i) ? sum : undefined));
		dispose(this.soFar.filter((sum, i) => sum && !own[i]) as Tensor1D[]);
		this.soFar = [];
		return this.exchange.sumGradients(own);
	}

	dispose(): void {
		dispose(this.soFar.filter((sum) => sum) as Tensor1D[]);
	}
}

/** Exchanged in each micro-step. */
class SumsOfShards implements GradientSums {
	soFar: FlatGradients;
	private reached: Tensor1D[] = [];
	private rounds = 0;

	constructor(
		private readonly exchange: GradientExchange,
		private readonly scatter: GradientScatter,
		private readonly allRounds: number,
	) {
		this.soFar = scatter.zeros();
	}

	add({ gradients, reached }: Omit<SharesAndGradients, "shares">): void {
		this.replace(gradients);
		if (reached) this.reached.push(reached);
		this.rounds++;
	}

	async finish(): Promise<FlatGradients> {
		for (; this.rounds < this.allRounds; this.rounds++) this.replace(await this.scatter.withoutRows(this.soFar));
		const reached = await this.exchange.sum(await this.readReached());
		const sums = this.soFar.map((shard, i) => (reached[i] > 0 ? shard : undefined));
		dispose(this.soFar.filter((shard, i) => shard && !sums[i]) as Tensor1D[]);
		this.soFar = [];
		return sums;
	}

	/** Micro-batches of this process that reached each bucket. */
	private async readReached(): Promise<number[]> {
		if (this.reached.length === 0) return this.soFar.map(() => 0);
		const counts = tidy(() => addN(this.reached));
		try {
			return Array.from(await counts.data());
		} finally {
			counts.dispose();
		}
	}

	private replace(shards: FlatGradients): void {
		dispose(this.soFar as Tensor1D[]);
		this.soFar = shards;
	}

	dispose(): void {
		dispose([...this.soFar, ...this.reached] as Tensor1D[]);
	}
}
