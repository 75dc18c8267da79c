import { mixBits } from "../backend/mix-bits.js";

/** @returns a uint32 for one row of one step: the same wherever the row stands in its batch, however the step is split, and after resuming */
export function stepSeed(seed: number, step: number, row: number): number {
	let hash = seed | 0;
	// Each number is spread over all bits before the next comes in.
	for (const part of [step, row]) hash = mixBits(hash ^ Math.imul(part + 1, 0x9e3779b9));
	return hash >>> 0;
}
