/**
 * Gradient clipping by the L2 norm over all gradients at once, as torch.nn.utils.clip_grad_norm_ does it.
 *
 * The norm is read back together with the loss (one read-back a step, in trainer.ts) and the factor goes to the optimizer, which
 * scales as it updates: gradients are never rewritten.
 */
import { addN, type Scalar, scalar, square, sum, tidy } from "../backend/tf.js";
import type { FlatGradients } from "./parameter-buckets.js";

/** torch's guard against a division by zero. */
const EPS = 1e-6;

/** @returns the sum of squares of every gradient; the caller's to dispose. */
export function squaredGradNorm(gradients: FlatGradients): Scalar {
	return tidy(() => {
		const sums = gradients.filter((g) => g !== undefined).map((g) => sum(square(g)) as Scalar);
		return sums.length === 0 ? scalar(0) : (addN(sums) as Scalar);
	});
}

/**
 * @param gradNorm L2 norm over all gradients
 * @param maxNorm the largest norm that is let through; `Infinity` clips nothing
 * @returns the factor in (0, 1] that brings the gradients to `maxNorm`
 */
export function clipFactor(gradNorm: number, maxNorm: number): number {
	return Math.min(1, maxNorm / (gradNorm + EPS));
}
