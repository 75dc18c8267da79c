/**
 * Sizes come in steps, so that compiled passes need few graphs: rounded up to a multiple of the step, `n` grows by a `parts`-th of itself at most.
 *
 * @param least smallest step. Default 1
 * @returns the largest power of two up to `n / parts`
 */
export function sizeStep(n: number, parts: number, least = 1): number {
	return Math.max(least, 2 ** Math.floor(Math.log2(n / parts)));
}

/** The least multiple of `step` that holds `n`. */
export function roundUp(n: number, step: number): number {
	return Math.ceil(n / step) * step;
}
