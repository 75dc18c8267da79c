/** @returns a uint32 for one row of one step: the same wherever the row stands in its batch, however the step is split, and after resuming */
export function stepSeed(seed: number, step: number, row: number): number {
	let hash = seed | 0;
	// Each number is spread over all bits before the next comes in (the finalizer of MurmurHash3).
	for (const part of [step, row]) {
		hash = (hash ^ Math.imul(part + 1, 0x9e3779b9)) | 0;
		hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
		hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
		hash ^= hash >>> 16;
	}
	return hash >>> 0;
}
