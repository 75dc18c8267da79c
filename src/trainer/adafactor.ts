/**
 * Adafactor (Shazeer & Stern 2018) with a given learning rate, step for step transformers' Adafactor with `scale_parameter=False`,
 * `relative_step=False`, no first moment: for a matrix [R, C] it keeps R + C numbers where AdamW keeps 2 · R · C.
 *
 * As in adamw.ts a bucket of parameters is updated by one graph; inside it each parameter has its own factors. The update of each parameter is
 * clipped to a root mean square of `clipThreshold`, which comes on top of the clipping of the gradients.
 */
import { type Compiled, compile } from "../backend/graph/compile.js";
import {
	add,
	div,
	maximum,
	mean,
	mul,
	reshape,
	rsqrt,
	type Scalar,
	scalar,
	sqrt,
	square,
	sub,
	type Tensor,
	type Tensor1D,
	tensor,
	tidy,
	type Variable,
	zeros,
} from "../backend/tf.js";
import { type Optimizer, type OptimizerStep, type StateTensor, theOneStep } from "./optimizer-state.js";
import { bucketParameters, type FlatGradients, type ParameterBucket, replaceParameters, splitLike } from "./parameter-buckets.js";

export interface AdafactorOptions {
	/** Added to squared gradients. Default 1e-30. */
	eps?: number;
	/** Largest root mean square of a parameter's update, before the learning rate. Default 1. */
	clipThreshold?: number;
	/** The second moment's decay rate at step t is 1 − t^decayRate. Default −0.8. */
	decayRate?: number;
	/** Fraction of a weight, times the learning rate, lost per step; matrices only. Default 0. */
	weightDecay?: number;
	/** Run op by op, without graphs. Default false. */
	eager?: boolean;
}

/** Of one parameter: [shape without the last axis] and [shape without the last but one], or of a vector the second moment itself. */
type SecondMoment = Tensor[];

type Factors = { scale: Scalar; keep: Scalar; learningRate: Scalar; decay: Scalar; fresh: Scalar };
type BucketState = { moments: SecondMoment[]; parameters: Tensor[] };
type Update = (state: BucketState, gradient: Tensor1D, factors: Factors) => BucketState;

export class Adafactor implements Optimizer {
	readonly buckets: readonly ParameterBucket[];
	private readonly states: { step: number; moments: SecondMoment[] }[];
	private readonly options: Required<Omit<AdafactorOptions, "eager">>;
	private readonly compiled?: Compiled<Parameters<Update>, BucketState>;

	constructor(
		parameters: ReadonlyMap<string, Variable>,
		{ eps = 1e-30, clipThreshold = 1, decayRate = -0.8, weightDecay = 0, eager = false }: AdafactorOptions = {},
	) {
		this.options = { eps, clipThreshold, decayRate, weightDecay };
		this.buckets = bucketParameters(parameters);
		this.states = this.buckets.map(({ variables }) => ({
			step: 0,
			moments: variables.map(({ shape }) => momentShapes(shape).map((of) => zeros([...of]))),
		}));
		if (!eager) this.compiled = compile(this.update, { name: "adafactor", trace: true, maxSignatures: Math.max(1, this.buckets.length) });
	}

	step(gradients: FlatGradients, { learningRate, gradientScale = 1 }: OptimizerStep): void {
		this.buckets.forEach((bucket, i) => {
			const gradient = gradients[i];
			if (gradient) this.updateBucket(bucket, i, gradient, learningRate, gradientScale);
		});
	}

	private updateBucket(bucket: ParameterBucket, i: number, gradient: Tensor1D, learningRate: number, scale: number): void {
		const state = this.states[i];
		const step = state.step + 1;
		const decay = 1 - step ** this.options.decayRate;
		const run = this.compiled ?? this.update;
		const next = tidy(() =>
			run({ moments: state.moments, parameters: bucket.variables.map((variable) => variable.clone()) }, gradient, {
				scale: scalar(scale),
				keep: scalar(1 - learningRate * (bucket.decays ? this.options.weightDecay : 0)),
				learningRate: scalar(learningRate),
				decay: scalar(decay),
				fresh: scalar(1 - decay),
			}),
		);
		this.replace(i, step, next.moments);
		replaceParameters(bucket, next.parameters);
	}

	private readonly update: Update = ({ moments, parameters }, gradient, factors) => {
		const { scale, keep, learningRate } = factors;
		const gradients = splitLike(mul(gradient, scale), parameters);
		const updated = parameters.map((old, i) => {
			const { moment, change } = this.updateOne(moments[i], gradients[i], factors);
			return { moment, parameter: sub(mul(old, keep), mul(change, learningRate)) };
		});
		return { moments: updated.map(({ moment }) => moment), parameters: updated.map(({ parameter }) => parameter) };
	};

	private updateOne(moment: SecondMoment, gradient: Tensor, { decay, fresh }: Factors): { moment: SecondMoment; change: Tensor } {
		const squared = add(square(gradient), this.options.eps);
		const average = (old: Tensor, now: Tensor): Tensor => add(mul(old, decay), mul(now, fresh));
		const next = moment.length === 1 ? [average(moment[0], squared)] : [-1, -2].map((axis, j) => average(moment[j], mean(squared, axis)));
		const raw = mul(gradient, inverseRoot(next));
		const rms = sqrt(mean(square(raw)));
		return { moment: next, change: div(raw, maximum(div(rms, this.options.clipThreshold), 1)) };
	}

	/** `step.<parameter>`, and `exp_avg_sq_row.`, `exp_avg_sq_col.` or `exp_avg_sq.<parameter>`. */
	stateTensors(): StateTensor[] {
		return this.buckets.flatMap((bucket, i) => {
			const { step, moments } = this.states[i];
			return bucket.names.flatMap((name, j): StateTensor[] => [
				{ name: `step.${name}`, shape: [], values: async () => Float32Array.of(step) },
				...moments[j].map((moment, which) => ({
					name: `${momentNames(moments[j].length)[which]}.${name}`,
					shape: moment.shape,
					values: async () => (await moment.data()) as Float32Array,
				})),
			]);
		});
	}

	async restore(read: (name: string, size: number) => Promise<Float32Array>): Promise<void> {
		for (const [i, bucket] of this.buckets.entries()) {
			const steps = new Set<number>();
			const moments: SecondMoment[] = [];
			for (const [j, name] of bucket.names.entries()) {
				steps.add((await read(`step.${name}`, 1))[0]);
				const old = this.states[i].moments[j];
				const names = momentNames(old.length);
				const values = await Promise.all(old.map(({ size }, which) => read(`${names[which]}.${name}`, size)));
				moments.push(old.map(({ shape }, which) => tensor(values[which], shape, "float32")));
			}
			this.replace(i, theOneStep(bucket, steps), moments);
		}
	}

	private replace(i: number, step: number, moments: SecondMoment[]): void {
		for (const old of this.states[i].moments.flat()) old.dispose();
		this.states[i] = { step, moments };
	}

	get signatures(): number {
		return this.compiled?.recordings ?? 0;
	}

	dispose(): void {
		this.compiled?.dispose();
		for (const moment of this.states.flatMap(({ moments }) => moments.flat())) moment.dispose();
	}
}

const momentNames = (tensors: number) => (tensors === 1 ? ["exp_avg_sq"] : ["exp_avg_sq_row", "exp_avg_sq_col"]);

function momentShapes(shape: readonly number[]): (readonly number[])[] {
	if (shape.length < 2) return [shape];
	return [shape.slice(0, -1), [...shape.slice(0, -2), shape[shape.length - 1]]];
}

/** 1 / √ of the second moment, broadcastable to the parameter's shape; of factors, their outer product over the mean. */
function inverseRoot(moment: SecondMoment): Tensor {
	if (moment.length === 1) return rsqrt(moment[0]);
	const [row, column] = moment;
	const ofRows = rsqrt(div(row, mean(row, -1, true)));
	const [columns, ...outer] = [...column.shape].reverse();
	return mul(reshape(ofRows, [...row.shape, 1]), reshape(rsqrt(column), [...outer.reverse(), 1, columns]));
}
