/**
 * AdamW with decoupled weight decay (Loshchilov & Hutter 2019), step for step torch.optim.AdamW: TensorFlow.js has no such optimizer.
 *
 * Parameters are updated bucket by bucket as flat vectors (parameter-buckets.ts), each bucket by one graph: more at a time would hold the old and the
 * new state of more than one. What changes from step to step goes in as tensors. A bucket without a gradient keeps its parameters,
 * its moments and its step count. Both moments are owned here until `dispose()`.
 */
import { type Compiled, compile } from "../backend/graph/compile.js";
import {
	add,
	div,
	mul,
	type Scalar,
	scalar,
	slice,
	sqrt,
	square,
	sub,
	type Tensor,
	type Tensor1D,
	tensor1d,
	tidy,
	type Variable,
	zeros,
} from "../backend/tf.js";
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

interface Moments {
	/** Updates made. */
	step: number;
	/** [bucket.size] */
	expAvg: Tensor1D;
	expAvgSq: Tensor1D;
}

/** Scalars of one bucket's update. */
type Factors = {
	/** Of the gradient. */
	scale: Scalar;
	/** Of the parameters: what weight decay leaves of them. */
	keep: Scalar;
	/** The learning rate over 1 − β₁ᵗ. */
	stepSize: Scalar;
	/** √(1 − β₂ᵗ) */
	rootCorrection: Scalar;
};

/** What an update replaces: flat moments, and the parameters in their shapes. */
type BucketState = { expAvg: Tensor1D; expAvgSq: Tensor1D; parameters: Tensor[] };

type Update = (state: BucketState, gradient: Tensor1D, factors: Factors) => BucketState;

export class AdamW implements Optimizer {
	/** Gradients come in this layout. */
	readonly buckets: readonly ParameterBucket[];
	private readonly moments: Moments[];
	private readonly betas: readonly [number, number];
	private readonly eps: number;
	private readonly weightDecay: number;
	/** Undefined where updates are eager. */
	private readonly compiled?: Compiled<Parameters<Update>, BucketState>;

	constructor(
		parameters: ReadonlyMap<string, Variable>,
		{ betas = [0.9, 0.95], eps = 1e-8, weightDecay = 0.01, decayAll = false, eager = false }: AdamWOptions = {},
	) {
		this.betas = betas;
		this.eps = eps;
		this.weightDecay = weightDecay;
		this.buckets = bucketParameters(parameters, { decayAll });
		this.moments = this.buckets.map(({ size }) => ({ step: 0, expAvg: zeros([size]) as Tensor1D, expAvgSq: zeros([size]) as Tensor1D }));
		// Buckets of the same parameters' shapes (those of the layers) share a graph.
		if (!eager) this.compiled = compile(this.update, { name: "adamw", trace: true, maxSignatures: Math.max(1, this.buckets.length) });
	}

	/** Updates the parameters in place. `gradients` stay the caller's. */
	step(gradients: FlatGradients, { learningRate, gradientScale = 1 }: OptimizerStep): void {
		this.buckets.forEach((bucket, i) => {
			const gradient = gradients[i];
			if (gradient) this.updateBucket(bucket, this.moments[i], gradient, learningRate, gradientScale);
		});
	}

	private updateBucket(bucket: ParameterBucket, moments: Moments, gradient: Tensor1D, learningRate: number, scale: number): void {
		const [beta1, beta2] = this.betas;
		const step = moments.step + 1;
		const run = this.compiled ?? this.update;
		const next = tidy(() =>
			run(
				{ expAvg: moments.expAvg, expAvgSq: moments.expAvgSq, parameters: bucket.variables.map((variable) => variable.clone()) },
				gradient,
				{
					scale: scalar(scale),
					keep: scalar(1 - learningRate * (bucket.decays ? this.weightDecay : 0)),
					stepSize: scalar(learningRate / (1 - beta1 ** step)),
					rootCorrection: scalar(Math.sqrt(1 - beta2 ** step)),
				},
			),
		);
		replace(moments, step, next.expAvg, next.expAvgSq);
		replaceParameters(bucket, next.parameters);
	}

	private readonly update: Update = ({ expAvg, expAvgSq, parameters }, gradient, { scale, keep, stepSize, rootCorrection }) => {
		const [beta1, beta2] = this.betas;
		const g = mul(gradient, scale);
		const mean: Tensor1D = add(mul(expAvg, beta1), mul(g, 1 - beta1));
		const meanSquare: Tensor1D = add(mul(expAvgSq, beta2), mul(square(g), 1 - beta2));
		const change = mul(div(mean, add(div(sqrt(meanSquare), rootCorrection), this.eps)), stepSize); // [bucket.size]
		const changes = splitLike(change as Tensor1D, parameters);
		return { expAvg: mean, expAvgSq: meanSquare, parameters: parameters.map((old, i) => sub(mul(old, keep), changes[i])) };
	};

	/** In torch's terms: `step.<parameter>`, `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`. */
	stateTensors(): StateTensor[] {
		return this.buckets.flatMap((bucket, i) => {
			const { step, expAvg, expAvgSq } = this.moments[i];
			let offset = 0;
			return bucket.names.flatMap((name, j): StateTensor[] => {
				const { shape, size } = bucket.variables[j];
				const start = offset;
				offset += size;
				return [
					{ name: `step.${name}`, shape: [], values: async () => Float32Array.of(step) },
					{ name: `exp_avg.${name}`, shape, values: () => readRange(expAvg, start, size) },
					{ name: `exp_avg_sq.${name}`, shape, values: () => readRange(expAvgSq, start, size) },
				];
			});
		});
	}

	async restore(read: (name: string, size: number) => Promise<Float32Array>): Promise<void> {
		for (const [i, bucket] of this.buckets.entries()) {
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
			replace(this.moments[i], theOneStep(bucket, steps), tensor1d(expAvg), tensor1d(expAvgSq));
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

function replace(moments: Moments, step: number, expAvg: Tensor1D, expAvgSq: Tensor1D): void {
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
