/**
 * One update of AdamW (Loshchilov & Hutter 2019) on a flat vector, step for step torch.optim.AdamW: of a whole bucket (adamw.ts), or of one process's
 * shard of it (sharding/sharded-adamw.ts).
 */
import { add, div, mul, type Scalar, scalar, sqrt, square, type Tensor1D, zeros } from "../backend/tf.js";
import type { OptimizerStep } from "./optimizer-state.js";

export interface AdamWConstants {
	/** Decay rates of the two moments. */
	betas: readonly [number, number];
	eps: number;
	/** Fraction of a weight, times the learning rate, lost per step. */
	weightDecay: number;
}

/** The flat moments of one vector of parameters. */
export type Moments = {
	/** [n] */
	expAvg: Tensor1D;
	expAvgSq: Tensor1D;
};

/** What changes from step to step, as tensors: a graph's inputs. */
export type Factors = {
	/** Of the gradient. */
	scale: Scalar;
	/** Of the parameters: what weight decay leaves of them. */
	keep: Scalar;
	/** The learning rate over 1 − β₁ᵗ. */
	stepSize: Scalar;
	/** √(1 − β₂ᵗ) */
	rootCorrection: Scalar;
};

export const zeroMoments = (size: number): Moments => ({ expAvg: zeros([size]) as Tensor1D, expAvgSq: zeros([size]) as Tensor1D });

/** @param step this update's number, from 1 @param decays whether weight decay applies */
export function factorsOf(
	step: number,
	{ learningRate, gradientScale = 1 }: OptimizerStep,
	decays: boolean,
	{ betas: [beta1, beta2], weightDecay }: AdamWConstants,
): Factors {
	return {
		scale: scalar(gradientScale),
		keep: scalar(1 - learningRate * (decays ? weightDecay : 0)),
		stepSize: scalar(learningRate / (1 - beta1 ** step)),
		rootCorrection: scalar(Math.sqrt(1 - beta2 ** step)),
	};
}

/** @returns the new moments, and the change: new parameters are the old ones · `keep` − it. To be called in a tidy. */
export function updateMoments(
	{ expAvg, expAvgSq }: Moments,
	gradient: Tensor1D,
	{ scale, stepSize, rootCorrection }: Factors,
	{ betas: [beta1, beta2], eps }: AdamWConstants,
): Moments & { change: Tensor1D } {
	const g = mul(gradient, scale);
	const mean: Tensor1D = add(mul(expAvg, beta1), mul(g, 1 - beta1));
	const meanSquare: Tensor1D = add(mul(expAvgSq, beta2), mul(square(g), 1 - beta2));
	const change = mul(div(mean, add(div(sqrt(meanSquare), rootCorrection), eps)), stepSize);
	return { expAvg: mean, expAvgSq: meanSquare, change: change as Tensor1D };
}
