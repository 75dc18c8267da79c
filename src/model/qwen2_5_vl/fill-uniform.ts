import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** Fills an array with numbers uniform in ±bound, and returns it. The same seed (uint32) gives the same numbers. */
export function fillUniform(values: Float32Array, bound: number, seed: number): Float32Array {
	const random = xoroshiro128plus(seed);
	const scale = bound / 2 ** 31;
	for (let i = 0; i < values.length; i++) values[i] = random.next() * scale; // an int32
	return values;
}
