/** The finalizer of MurmurHash3 (Appleby): every bit of the result, an int32, depends on every bit of `value`. */
export function mixBits(value: number): number {
	let hash = value | 0;
	hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
	hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
	return hash ^ (hash >>> 16);
}
