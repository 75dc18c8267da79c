/**
 * AdamW with decoupled weight decay (adamw-update.ts): TensorFlow.js has no such optimizer.
 *
 * Parameters are updated bucket by bucket as flat vectors (parameter-buckets.ts), each bucket by one graph: more at a time would hold the old and the
 * new state of more than one. What changes from step to step goes in as tensors. A bucket without a gradient keeps its parameters,
 * its moments and its step count. Both moments are owned here until `dispose()`.
 */
import { type Compiled, compile } from "../backend/graph/compile.js";
import { mul, slice, sub, type Tensor, type Tensor1D, tensor1d, tidy, type Variable } from "../backend/tf.js";
import { type AdamWConstants, type Factors, factorsOf, type Moments, updateMoments, zeroMoments } from "./adamw-update.js";
import { type Optimizer, type OptimizerStep, type StateTensor, theOneStep } from "./optimizer-state.js";
import { bucketParameters, type FlatGradients, type ParameterBucket, replaceParameters, splitLike } from "./parameter-buckets.js";

export interface AdamWOptions {
	/** Decay rates of the two moments. Default [0.9, 0.95]. */
	betas?: readonly [number, number];
	/** Default 1e-8. */
	eps?: number;
	/** Fraction of a weight, times the learning rate, lost per step. Default 0.01. */
	weightDecay?: number;
	/** Decay norms and biases (parameters of one dimension) too, as a bare torch.optim.AdamW does. Default false. */
	decayAll?: boolean;
	/** Run op by op, without graphs. Default false. */
	eager?: boolean;
}

/** Of a bucket: updates made, and [bucket.size] each of the moments. */
type BucketMoments = Moments & { step: number };

/** What an update replaces: flat moments, and the parameters in their shapes. */
type BucketState = Moments & { parameters: Tensor[] };

type Update = (state: BucketState, gradient: Tensor1D, factors: Factors) => BucketState;

export class AdamW implements Optimizer {
	/** Gradients come in this layout. */
	readonly buckets: readonly ParameterBucket[];
	private readonly moments: BucketMoments[];
	private readonly constants: AdamWConstants;
	/** Undefined where updates are eager. */
	private readonly compiled?: Compiled<Parameters<Update>, BucketState>;

	constructor(
		parameters: ReadonlyMap<string, Variable>,
		{ betas = [0.9, 0.95], eps = 1e-8, weightDecay = 0.01, decayAll = false, eager = false }: AdamWOptions = {},
	) {
		this.constants = { betas, eps, weightDecay };
		this.buckets = bucketParameters(parameters, { decayAll });
		this.moments = this.buckets.map(({ size }) => ({ step: 0, ...zeroMoments(size) }));
		// Buckets of the same parameters' shapes (those of the layers) share a graph.
		if (!eager) this.compiled = compile(this.update, { name: "adamw", trace: true, maxSignatures: Math.max(1, this.buckets.length) });
	}

	/** Updates the parameters in place. `gradients` stay the caller's. */
	step(gradients: FlatGradients, step: OptimizerStep): void {
		this.buckets.forEach((bucket, i) => {
			const gradient = gradients[i];
			if (gradient) this.updateBucket(bucket, this.moments[i], gradient, step);
		});
	}

	private updateBucket(bucket: ParameterBucket, moments: BucketMoments, gradient: Tensor1D, options: OptimizerStep): void {
		const step = moments.step + 1;
		const run = this.compiled ?? this.update;
		const next = tidy(() =>
			run(
				{ expAvg: moments.expAvg, expAvgSq: moments.expAvgSq, parameters: bucket.variables.map((variable) => variable.clone()) },
				gradient,
				factorsOf(step, options, bucket.decays, this.constants),
			),
		);
		replace(moments, step, next.expAvg, next.expAvgSq);
		replaceParameters(bucket, next.parameters);
	}

	private readonly update: Update = ({ parameters, ...moments }, gradient, factors) => {
		const { change, ...next } = updateMoments(moments, gradient, factors, this.constants); // [bucket.size]
		const changes = splitLike(change, parameters);
		return { ...next, parameters: parameters.map((old, i) => sub(mul(old, factors.keep), changes[i])) };
	};

	/** In torch's terms: `step.<parameter>`, `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`. */
	stateTensors(): StateTensor[] {
		return this.buckets.flatMap((bucket, i) => {
			const { step, expAvg, expAvgSq } = this.moments[i];
			return momentTensors(bucket, step, (which, offset, size) => readRange(which === "expAvg" ? expAvg : expAvgSq, offset, size));
		});
	}

	async restore(read: ReadState): Promise<void> {
		for (const [i, bucket] of this.buckets.entries()) {
			const { step, expAvg, expAvgSq } = await readMoments(bucket, read);
			replace(this.moments[i], step, tensor1d(expAvg), tensor1d(expAvgSq));
		}
	}

	get signatures(): number {
		return this.compiled?.recordings ?? 0;
	}

	dispose(): void {
		this.compiled?.dispose();
		for (const { expAvg, expAvgSq } of this.moments) {
			expAvg.dispose();
			expAvgSq.dispose();
		}
	}
}

type ReadState = Parameters<Optimizer["restore"]>[0];

/**
 * A bucket's state as a checkpoint has it, a tensor of each kind for each parameter.
 *
 * @param values of one of the moments, a range of the flat bucket
 */
export function momentTensors(
	bucket: ParameterBucket,
	step: number,
	values: (which: keyof Moments, offset: number, size: number) => Promise<Float32Array>,
): StateTensor[] {
	let offset = 0;
	return bucket.names.flatMap((name, j): StateTensor[] => {
		const { shape, size } = bucket.variables[j];
		const start = offset;
		offset += size;
		return [
			{ name: `step.${name}`, shape: [], values: async () => Float32Array.of(step) },
			{ name: `exp_avg.${name}`, shape, values: () => values("expAvg", start, size) },
			{ name: `exp_avg_sq.${name}`, shape, values: () => values("expAvgSq", start, size) },
		];
	});
}

/** The other way round: the whole bucket's. @throws when its parameters differ in their step */
export async function readMoments(
	bucket: ParameterBucket,
	read: ReadState,
): Promise<{ step: number; expAvg: Float32Array; expAvgSq: Float32Array }> {
	const expAvg = new Float32Array(bucket.size);
	const expAvgSq = new Float32Array(bucket.size);
	const steps = new Set<number>();
	let offset = 0;
	for (const [j, name] of bucket.names.entries()) {
		expAvg.set(await read(`exp_avg.${name}`, bucket.sizes[j]), offset);
		expAvgSq.set(await read(`exp_avg_sq.${name}`, bucket.sizes[j]), offset);
		steps.add((await read(`step.${name}`, 1))[0]);
		offset += bucket.sizes[j];
	}
	return { step: theOneStep(bucket, steps), expAvg, expAvgSq };
}

function replace(moments: BucketMoments, step: number, expAvg: Tensor1D, expAvgSq: Tensor1D): void {
	moments.expAvg.dispose();
	moments.expAvgSq.dispose();
	Object.assign(moments, { step, expAvg, expAvgSq });
}

async function readRange(flat: Tensor1D, offset: number, size: number): Promise<Float32Array> {
	const range = slice(flat, [offset], [size]);
	try {
		return (await range.data()) as Float32Array;
	} finally {
		range.dispose();
	}
}
