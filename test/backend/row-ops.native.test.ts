import { beforeAll, describe, expect, it } from "vitest";
import { toBfloat16, toFloat32 } from "../../src/backend/bfloat16.js";
import { fromInt8, isInt8, toInt8 } from "../../src/backend/int8.js";
import { fewRowsMatMul, fusedRmsNorm, fusedRotary, fusedSwiglu, fusedWidenBias, hasRowOps } from "../../src/backend/row-ops.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import {
	add,
	concat,
	matMul,
	mean,
	memory,
	mul,
	neg,
	randomNormal,
	rsqrt,
	sigmoid,
	split,
	square,
	type Tensor,
	type Tensor2D,
	type Tensor3D,
	tidy,
} from "../../src/backend/tf.js";
import { rotaryTables } from "../../src/nn/rotary.js";
import { nativeMissing } from "./native-runtime.js";

const SHAPES = [
	[1, 1, 1],
	[1, 64, 896],
	[2, 67, 45],
	[5, 3, 100],
	[7, 129, 33],
	[8, 896, 64],
	[31, 300, 257],
];

describe.skipIf(nativeMissing)("ops of our own", () => {
	beforeAll(async () => {
		await selectBackend("native-cpu");
	});

	/** Largest difference over the largest value. */
	async function distance(got: Tensor2D, want: Tensor2D): Promise<number> {
		const [a, b] = [(await got.data()) as Float32Array, (await want.data()) as Float32Array];
		expect(got.shape).toEqual(want.shape);
		const largest = b.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
		return a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0) / largest;
	}

	const tablesOf = (rows: number): [Tensor3D, Tensor3D] => {
		const { cos, signedSin } = rotaryTables(new Float32Array(rows), 1);
		return [cos, signedSin];
	};
	const draw = (rows: number, columns: number, seed: number) => randomNormal([rows, columns], 0, 1, "float32", seed) as Tensor2D;

	it.runIf(process.arch === "x64")("has the op on a processor with AVX2, which every one of these machines has", () => {
		expect(hasRowOps()).toBe(true);
	});

	it.each(SHAPES)("%d rows by [%d, %d] equals TensorFlow's product, in every type", async (rows, out, width) => {
		const x = draw(rows, width, 1);
		const w = draw(out, width, 2);
		expect(await distance(fewRowsMatMul(x, w), matMul(x, w, false, true))).toBeLessThan(2e-6);
		// In bfloat16 of the very numbers that the op is to round x to.
		const roundedX = toFloat32(toBfloat16(x));
		const narrow = toBfloat16(w);
		expect(await distance(fewRowsMatMul(roundedX, narrow), matMul(roundedX, toFloat32(narrow), false, true))).toBeLessThan(2e-6);
		const { values, scale } = toInt8(w);
		const dequantized = mul(matMul(roundedX, fromInt8(values, "float"), false, true), scale) as Tensor2D;
		expect(await distance(fewRowsMatMul(roundedX, values, scale), dequantized)).toBeLessThan(2e-6);
	});

	it("rounds weights to int8 within half a step of their row", async () => {
		const w = draw(40, 100, 3);
		const { values, scale } = toInt8(w);
		expect(isInt8(values)).toBe(true);
		const read = async (x: Tensor) => (await x.data()) as Float32Array;
		const [original, integers, steps] = [await read(w), await read(fromInt8(values, "float")), await read(scale)];
		integers.forEach((q, i) => {
			const step = steps[Math.floor(i / 100)];
			expect(Math.abs(original[i] - q * step)).toBeLessThanOrEqual(0.5001 * step);
		});
		expect(integers.reduce((m, q) => Math.max(m, Math.abs(q)), 0)).toBe(127);
	});

	it("keeps nothing and takes rows of zeros", async () => {
		const before = memory().numTensors;
		const product = tidy(() => {
			const { values, scale } = toInt8(mul(draw(8, 32, 4), 0) as Tensor2D);
			return fewRowsMatMul(draw(2, 32, 5), values, scale);
		});
		expect([...(await product.data())]).toEqual(new Array(16).fill(0));
		product.dispose();
		expect(memory().numTensors).toBe(before);
	});

	it("names both shapes where they don't fit", () => {
		expect(() => fewRowsMatMul(draw(3, 100, 6), draw(4, 99, 7))).toThrow(
			/expected x \[N, in\] and w \[out, in\], got \[3,100\] and \[4,99\]/,
		);
		expect(() => fewRowsMatMul(draw(3, 100, 6), draw(4, 100, 7), draw(1, 4, 8).flatten() as never)).toThrow(/a scale goes with int8/);
	});

	it.each([
		[1, 1],
		[3, 45],
		[40, 896],
		[700, 96],
	])("normalizes %d rows of %d as the ops do, in one pass", async (rows, width) => {
		const x = mul(draw(rows, width, 9), 3) as Tensor2D;
		const w = draw(1, width, 10).flatten();
		const r = rsqrt(add(mean(square(x), -1, true), 1e-6)) as Tensor2D;
		const want = mul(mul(x, r), w) as Tensor2D;
		const [y, inverse] = fusedRmsNorm(x, w, 1e-6);
		expect(await distance(y, want)).toBeLessThan(1e-6);
		expect(await distance(inverse, r)).toBeLessThan(1e-6);
		const [narrow] = fusedRmsNorm(x, w, 1e-6, true);
		expect(await distance(toFloat32(narrow), toFloat32(toBfloat16(y)))).toBe(0);
	});

	it("has SwiGLU in float32 and bfloat16, far from zero too", async () => {
		const gate = concat([draw(300, 33, 11), mul(draw(300, 33, 12), 60)], 0) as Tensor2D;
		const up = draw(600, 33, 13);
		expect(await distance(fusedSwiglu(gate, up), mul(mul(gate, sigmoid(gate)), up) as Tensor2D)).toBeLessThan(1e-6);
		const [narrowGate, narrowUp] = [toBfloat16(gate), toBfloat16(up)];
		const wide = fusedSwiglu(toFloat32(narrowGate), toFloat32(narrowUp));
		expect(await distance(toFloat32(fusedSwiglu(narrowGate, narrowUp)), toFloat32(toBfloat16(wide)))).toBe(0);
	});

	it("adds SwiGLU's biases, and a bias to a bfloat16 product", async () => {
		const [gate, up] = [draw(70, 45, 14), draw(70, 45, 15)];
		const [gateBias, upBias] = [draw(1, 45, 16).flatten(), draw(1, 45, 17).flatten()];
		const [g, u] = [add(gate, gateBias), add(up, upBias)];
		expect(await distance(fusedSwiglu(gate, up, [gateBias, upBias]), mul(mul(g, sigmoid(g)), u) as Tensor2D)).toBeLessThan(1e-6);
		const narrow = toBfloat16(gate);
		expect(await distance(fusedWidenBias(narrow, gateBias), add(toFloat32(narrow), gateBias) as Tensor2D)).toBe(0);
	});

	it("turns heads by their rows' angles", async () => {
		const x = draw(30, 3 * 10, 18).reshape([30, 3, 10]) as Tensor3D;
		const tables = rotaryTables(
			Float32Array.from({ length: 30 * 5 }, (_, i) => i / 7),
			5,
		);
		const [a, b] = split(x, 2, 2);
		const want = add(mul(x, tables.cos), mul(concat([b, a], 2), tables.signedSin));
		const got = fusedRotary(x, tables.cos, tables.signedSin);
		expect(await distance(got.reshape([90, 10]), want.reshape([90, 10]))).toBeLessThan(1e-6);
		// By the negative angles they turn back: the gradient.
		const back = fusedRotary(got, tables.cos, neg(tables.signedSin) as Tensor3D);
		expect(await distance(back.reshape([90, 10]), x.reshape([90, 10]))).toBeLessThan(1e-6);
	});

	it("names what does not fit", () => {
		expect(() => fusedWidenBias(toBfloat16(draw(3, 4, 1)), draw(1, 5, 1).flatten())).toThrow(/FusedWidenBias: expected x/);
		expect(() => fusedRotary(draw(3, 4, 1).reshape([3, 2, 2]), ...tablesOf(2))).toThrow(/FusedRotary: expected x \[N, H, D\]/);
		expect(() => fusedRmsNorm(draw(3, 4, 1), draw(1, 5, 1).flatten(), 1e-6)).toThrow(/FusedRmsNorm: expected x \[N, C\] and w \[C\]/);
		expect(() => fusedSwiglu(draw(3, 4, 1), draw(4, 3, 1))).toThrow(/FusedSwiglu: expected two tensors \[N, C\], got \[3,4\] and \[4,3\]/);
	});
});
