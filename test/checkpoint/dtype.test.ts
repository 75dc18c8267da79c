import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesToFloat32, bytesToInt32, float32ToBytes } from "../../src/checkpoint/dtype.js";

const halfBytes = (...bits: number[]) => new Uint8Array(Uint16Array.from(bits).buffer);
const bitsOf = (bytes: Uint8Array) => [...new Uint16Array(bytes.slice().buffer)];

/** Every float16 value from its definition, the infinities as the next power of two. */
function half(bits: number): number {
	const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
	return (bits & 0x8000 ? -1 : 1) * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The float16 of the definition: nearest value, the even one of two as near. */
function nearestHalf(x: number): number {
	const magnitude = Math.abs(x);
	let [low, high] = [0, 0x7c00];
	while (high - low > 1) {
		const middle = (low + high) >> 1;
		if (half(middle) <= magnitude) low = middle;
		else high = middle;
	}
	const [below, above] = [magnitude - half(low), half(high) - magnitude];
	const chosen = below < above || (below === above && low % 2 === 0) ? low : high;
	return (x < 0 || Object.is(x, -0) ? 0x8000 : 0) | (magnitude >= half(0x7c00) ? 0x7c00 : chosen);
}

describe("bytesToFloat32", () => {
	it("reads each finite float16 as defined, infinities and NaN too", () => {
		const bits = Array.from({ length: 65536 }, (_, i) => i).filter((b) => ((b >> 10) & 31) !== 31);
		expect(bytesToFloat32(halfBytes(...bits), "F16")).toEqual(Float32Array.from(bits, half));
		expect([...bytesToFloat32(halfBytes(0x7c00, 0xfc00, 0x7e00), "F16")]).toEqual([Infinity, -Infinity, Number.NaN]);
	});

	it("reads bfloat16 as the upper half of a float32", () => {
		expect([...bytesToFloat32(halfBytes(0x3f80, 0xc020, 0x7f80, 0x0000), "BF16")]).toEqual([1, -2.5, Infinity, 0]);
	});

	it("returns a view of aligned float32 bytes, a copy of others, and fills a destination", () => {
		const values = Float32Array.of(1.5, -2);
		const bytes = new Uint8Array(values.buffer);
		expect(bytesToFloat32(bytes, "F32").buffer).toBe(values.buffer);
		const shifted = new Uint8Array(9);
		shifted.set(bytes, 1);
		expect(bytesToFloat32(shifted.subarray(1), "F32")).toEqual(values);
		const into = new Float32Array(2);
		expect(bytesToFloat32(bytes, "F32", into)).toBe(into);
		expect(into).toEqual(values);
		expect(bytesToFloat32(new Uint8Array(Float64Array.of(0.25).buffer), "F64")).toEqual(Float32Array.of(0.25));
	});

	it("names the type or the sizes that do not fit", () => {
		expect(() => bytesToFloat32(new Uint8Array(4), "I32")).toThrow(/I32 can't be read as float32; expected F32, BF16/);
		expect(() => bytesToFloat32(new Uint8Array(3), "BF16")).toThrow(/3 bytes are not a whole number of 2-byte/);
		expect(() => bytesToFloat32(new Uint8Array(4), "F16", new Float32Array(3))).toThrow(/destination holds 3 elements, the tensor 2/);
	});
});

describe("float32ToBytes", () => {
	it("rounds to the nearest float16, ties to even", () => {
		const ties = [2049, 2051, 65519.99, 65520, 2 ** -25, 2 ** -25 * 1.0001, 3 * 2 ** -25, 2 ** -14 - 2 ** -25, -0, 1e-10, 1e10];
		const float = fc.float({ noNaN: true, noDefaultInfinity: true });
		fc.assert(
			fc.property(fc.array(fc.oneof(float, fc.float({ min: -65536, max: 65536, noNaN: true }), fc.constantFrom(...ties))), (xs) => {
				const values = Float32Array.from(xs);
				expect(bitsOf(float32ToBytes(values, "F16"))).toEqual([...values].map(nearestHalf));
			}),
		);
		expect(bitsOf(float32ToBytes(Float32Array.of(Infinity, -Infinity), "F16"))).toEqual([0x7c00, 0xfc00]);
	});

	it("rounds to the nearest bfloat16, ties to even, NaN kept", () => {
		const values = new Float32Array(Uint32Array.of(0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0x7f800001).buffer);
		expect(bitsOf(float32ToBytes(values, "BF16"))).toEqual([0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7f80, 0x7fc0]);
	});

	it("keeps every half value through a round trip", () => {
		const finite = Array.from({ length: 65536 }, (_, i) => i);
		for (const [dtype, exponent] of [
			["F16", 0x7c00],
			["BF16", 0x7f80],
		] as const) {
			const bits = finite.filter((b) => (b & exponent) !== exponent);
			expect(bitsOf(float32ToBytes(bytesToFloat32(halfBytes(...bits), dtype), dtype))).toEqual(bits);
		}
	});
});

describe("bytesToInt32", () => {
	it("reads integers and booleans, and refuses what int32 can't hold", () => {
		expect(bytesToInt32(new Uint8Array(BigInt64Array.of(-5n, 7n).buffer), "I64")).toEqual(Int32Array.of(-5, 7));
		expect(bytesToInt32(Uint8Array.of(0, 1, 255), "BOOL")).toEqual(Int32Array.of(0, 1, 255));
		expect(() => bytesToInt32(new Uint8Array(BigInt64Array.of(1n, 2n ** 31n).buffer), "I64")).toThrow(/element 1 is 2147483648/);
		expect(() => bytesToInt32(new Uint8Array(4), "F32")).toThrow(/F32 can't be read as int32/);
	});
});
