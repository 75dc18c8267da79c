/**
 * The element types of a safetensors file, and their bytes to and from JavaScript numbers.
 * Bytes are little-endian, as the format wants; so are the machines that Node runs on here (checked once, below).
 * bfloat16 is the upper half of a float32; both half types are written with round to nearest, ties to even, as PyTorch does.
 */

/** Bytes per element, by the name that the format gives the type. */
export const DTYPE_BYTES = {
	F64: 8,
	I64: 8,
	U64: 8,
	F32: 4,
	I32: 4,
	U32: 4,
	F16: 2,
	BF16: 2,
	I16: 2,
	U16: 2,
	F8_E4M3: 1,
	F8_E5M2: 1,
	I8: 1,
	U8: 1,
	BOOL: 1,
} as const;

/** An element type, spelled as in a safetensors header. */
export type SafetensorsDtype = keyof typeof DTYPE_BYTES;

/** The types that weights come in. */
export type FloatDtype = "F32" | "BF16" | "F16";

const BIG_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 0;

/** A typed view of bytes where their address allows it, else of a copy of them. */
function view<T>(bytes: Uint8Array, itemBytes: number, make: (buffer: ArrayBufferLike, offset: number, length: number) => T): T {
	if (BIG_ENDIAN) throw new Error("checkpoint: tensors are little-endian and this machine is not; run on a little-endian machine");
	if (bytes.byteLength % itemBytes !== 0) {
		throw new Error(`checkpoint: ${bytes.byteLength} bytes are not a whole number of ${itemBytes}-byte elements`);
	}
	const aligned = bytes.byteOffset % itemBytes === 0 ? bytes : new Uint8Array(bytes);
	return make(aligned.buffer, aligned.byteOffset, aligned.byteLength / itemBytes);
}

const u16 = (bytes: Uint8Array) => view(bytes, 2, (b, o, n) => new Uint16Array(b, o, n));

/** The destination, checked, or a new array. */
function target<T extends { length: number }>(into: T | undefined, length: number, make: () => T): T {
	if (into && into.length !== length) throw new Error(`checkpoint: destination holds ${into.length} elements, the tensor ${length}`);
	return into ?? make();
}

/**
 * The float32 values of a tensor's bytes.
 * @param bytes little-endian elements of `dtype`
 * @param into receives the values; without it F32 comes back as a view of `bytes` (no copy where aligned), the others as a new array.
 * @throws Error if the type holds no real numbers or a length does not fit.
 */
export function bytesToFloat32(bytes: Uint8Array, dtype: SafetensorsDtype, into?: Float32Array): Float32Array {
	if (dtype === "F32") {
		const values = view(bytes, 4, (b, o, n) => new Float32Array(b, o, n));
		if (!into) return values;
		target(into, values.length, () => into).set(values);
		return into;
	}
	if (dtype === "F64") {
		const values = view(bytes, 8, (b, o, n) => new Float64Array(b, o, n));
		const out = target(into, values.length, () => new Float32Array(values.length));
		out.set(values);
		return out;
	}
	if (dtype !== "BF16" && dtype !== "F16") {
		throw new Error(
			`checkpoint: ${dtype} can't be read as float32; expected F32, BF16, F16 or F64 (convert the checkpoint with transformers first)`,
		);
	}
	const halves = u16(bytes);
	const out = target(into, halves.length, () => new Float32Array(halves.length));
	const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
	if (dtype === "BF16") for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
	else {
		const table = halfTable();
		for (let i = 0; i < halves.length; i++) bits[i] = table[halves[i]];
	}
	return out;
}

/**
 * Float32 values as a tensor's bytes, rounded to nearest even.
 * @param into receives the bytes; without it F32 comes back as a view of `values`, the others as a new array.
 */
export function float32ToBytes(values: Float32Array, dtype: FloatDtype, into?: Uint8Array): Uint8Array {
	const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
	if (dtype === "F32") {
		if (!into) return bytes;
		target(into, bytes.length, () => into).set(bytes);
		return into;
	}
	const out = target(into, values.length * 2, () => new Uint8Array(values.length * 2));
	const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
	const round = dtype === "BF16" ? bfloat16Bits : float16Bits;
	for (let i = 0; i < bits.length; i++) {
		const half = round(bits[i]);
		out[2 * i] = half;
		out[2 * i + 1] = half >>> 8;
	}
	return out;
}

/**
 * Integer or boolean elements as int32.
 * @throws Error for another type, or an I64/U32 value that int32 can't hold.
 */
export function bytesToInt32(bytes: Uint8Array, dtype: SafetensorsDtype): Int32Array {
	switch (dtype) {
		case "I32":
			return view(bytes, 4, (b, o, n) => new Int32Array(b, o, n));
		case "U8":
		case "BOOL":
			return Int32Array.from(bytes);
		case "I64":
			return Int32Array.from(
				view(bytes, 8, (b, o, n) => new BigInt64Array(b, o, n)),
				(v, i) => int32(Number(v), i),
			);
		case "U32":
			return Int32Array.from(
				view(bytes, 4, (b, o, n) => new Uint32Array(b, o, n)),
				int32,
			);
		default:
			throw new Error(`checkpoint: ${dtype} can't be read as int32; expected I32, I64, U32, U8 or BOOL`);
	}
}

function int32(value: number, index: number): number {
	if (value !== (value | 0)) throw new Error(`checkpoint: element ${index} is ${value}, which int32 can't hold`);
	return value;
}

function bfloat16Bits(bits: number): number {
	if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // NaN stays NaN
	return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function float16Bits(bits: number): number {
	const sign = (bits >>> 16) & 0x8000;
	const magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
	if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and more round to infinity
	const exponent = (magnitude >>> 23) - 127;
	if (exponent < -25) return sign;
	const subnormal = exponent < -14;
	const significand = (magnitude & 0x7fffff) | 0x800000;
	const shift = subnormal ? -1 - exponent : 13; // bits to drop
	const kept = subnormal ? significand >>> shift : (magnitude - 0x38000000) >>> 13;
	const rest = significand & ((1 << shift) - 1);
	const half = 1 << (shift - 1);
	return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

let halves: Uint32Array | undefined;

/** float32 bits of each of the 65536 float16 values; 256 KiB, made at the first use. */
function halfTable(): Uint32Array {
	if (halves) return halves;
	const values = new Float32Array(65536);
	const table = new Uint32Array(values.buffer);
	for (let h = 0; h < 65536; h++) {
		const exponent = (h >>> 10) & 31;
		const fraction = h & 1023;
		const sign = h & 0x8000 ? -1 : 1;
		if (exponent === 31) table[h] = ((h & 0x8000) << 16) | 0x7f800000 | (fraction << 13);
		else values[h] = sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
	}
	halves = table;
	return halves;
}
