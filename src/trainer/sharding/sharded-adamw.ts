/**
 * AdamW of which each process has its shard only (ZeRO stages 1 and 2): the moments of its shard of each bucket. It updates that shard of the parameters and
 * gets the others' new ones by an all-gather, in the same graph. All processes have whole parameters before and after.
 *
 * A checkpoint has whole moments, as AdamW's (adamw.ts): whoever writes it asks the others for one bucket's at a time, and whoever reads it takes its shard. So a
 * run goes on with any number of processes and any stage.
 */
import type { WorkerGroup } from "../../backend/cluster/worker-group.js";
import { type Compiled, compile } from "../../backend/graph/compile.js";
import { dispose, mul, sub, type Tensor, type Tensor1D, tensor1d, type Variable } from "../../backend/tf.js";
import { momentTensors, readMoments } from "../adamw.js";
import { type AdamWConstants, type Factors, factorsOf, type Moments, updateMoments, zeroMoments } from "../adamw-update.js";
import type { Optimizer, OptimizerStep, StateTensor } from "../optimizer-state.js";
import {
	bucketParameters,
	type FlatGradients,
	flattenBucket,
	type ParameterBucket,
	replaceParameters,
	splitLike,
} from "../parameter-buckets.js";
import { GatheredState } from "./gathered-state.js";
import { allGather, ownShard, ownValues, shardLength } from "./shards.js";

export interface ShardedAdamWOptions {
	/** As AdamWOptions. */
	betas?: readonly [number, number];
	eps?: number;
	weightDecay?: number;
}

/** Of this process's shard of a bucket. */
type ShardMoments = Moments & { step: number };
/** Moments of the shard, and the whole parameters. */
type State = Moments & { parameters: Tensor[] };
type Update = (state: State, gradient: Tensor1D, factors: Factors, bucket: number) => State;

const KINDS = ["expAvg", "expAvgSq"] as const;

export class ShardedAdamW implements Optimizer {
	/** Gradients come in this layout, of each bucket this process's shard. */
	readonly buckets: readonly ParameterBucket[];
	readonly gathered: GatheredState;
	private readonly moments: ShardMoments[];
	private readonly constants: AdamWConstants;
	private readonly firstKey: number;
	/** A graph for each bucket, as each has a key of its own. */
	private readonly compiled: Compiled<Parameters<Update>, State>;

	constructor(
		parameters: ReadonlyMap<string, Variable>,
		private readonly group: WorkerGroup,
		{ betas = [0.9, 0.95], eps = 1e-8, weightDecay = 0.01 }: ShardedAdamWOptions = {},
	) {
		this.constants = { betas, eps, weightDecay };
		this.buckets = bucketParameters(parameters);
		this.moments = this.buckets.map(({ size }) => ({ step: 0, ...zeroMoments(shardLength(size, group.size)) }));
		this.firstKey = group.takeKeys(this.buckets.length);
		this.compiled = compile(this.update, { name: "sharded_adamw", trace: true, maxSignatures: Math.max(1, this.buckets.length) });
		const sizes = this.buckets.flatMap(({ size }) => KINDS.map(() => size));
		this.gathered = new GatheredState(group, sizes, (part) => this.moments[Math.floor(part / KINDS.length)][KINDS[part % KINDS.length]]);
	}

	/** @throws WorkerLostError: some buckets are updated then, and some are not */
	async step(gradients: FlatGradients, step: OptimizerStep): Promise<void> {
		for (const [i, gradient] of gradients.entries()) if (gradient) await this.updateBucket(i, gradient, step);
	}

	private async updateBucket(i: number, gradient: Tensor1D, options: OptimizerStep): Promise<void> {
		const [bucket, moments] = [this.buckets[i], this.moments[i]];
		const step = moments.step + 1;
		const factors = factorsOf(step, options, bucket.decays, this.constants);
		const parameters = bucket.variables.map((variable) => variable.clone());
		const { expAvg, expAvgSq } = moments;
		const next = await this.group
			.together(() => this.compiled.runAsync([{ expAvg, expAvgSq, parameters }, gradient, factors, i]))
			.finally(() => dispose([parameters, factors]));
		dispose([expAvg, expAvgSq]);
		Object.assign(moments, { step, expAvg: next.expAvg, expAvgSq: next.expAvgSq });
		replaceParameters(bucket, next.parameters);
	}

	private readonly update: Update = ({ parameters, ...moments }, gradient, factors, i) => {
		const old = ownShard(flattenBucket(this.buckets[i], parameters), this.group);
		const { change, ...next } = updateMoments(moments, gradient, factors, this.constants); // [shardLength]
		const shard = sub(mul(old, factors.keep), change) as Tensor1D;
		const flat = allGather(shard, this.buckets[i].size, this.group, this.firstKey + i);
		return { ...next, parameters: splitLike(flat, parameters) };
	};

	/** For the process that writes, while the others are in `gathered.serve`. */
	stateTensors(): StateTensor[] {
		return this.buckets.flatMap((bucket, i) =>
			momentTensors(bucket, this.moments[i].step, async (kind, offset, size) => {
				const whole = await this.gathered.read(KINDS.length * i + KINDS.indexOf(kind));
				return whole.slice(offset, offset + size);
			}),
		);
	}

	async restore(read: Parameters<Optimizer["restore"]>[0]): Promise<void> {
		for (const [i, bucket] of this.buckets.entries()) {
			const { step, ...whole } = await readMoments(bucket, read);
			const [expAvg, expAvgSq] = KINDS.map((kind) => tensor1d(ownValues(whole[kind], this.group)));
			dispose([this.moments[i].expAvg, this.moments[i].expAvgSq]);
			Object.assign(this.moments[i], { step, expAvg, expAvgSq });
		}
	}

	get signatures(): number {
		return this.compiled.recordings;
	}

	dispose(): void {
		this.compiled.dispose();
		this.gathered.dispose();
		for (const { expAvg, expAvgSq } of this.moments) dispose([expAvg, expAvgSq]);
	}
}
