/** bfloat16 tensors: their values, that the engine tracks them, that ordinary ops refuse them, and that compile() takes and gives them. */
import { beforeAll, describe, expect, it } from "vitest";
import {
	bfloat16FromBytes,
	gatherBfloat16,
	isBfloat16,
	matMulBfloat16,
	reshapeBfloat16,
	toBfloat16,
	toFloat32,
} from "../../src/backend/bfloat16.js";
import { compile } from "../../src/backend/graph/compile.js";
import { currentNativeBackend } from "../../src/backend/native-binding.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import { add, keep, matMul, memory, type Tensor2D, tensor1d, tensor2d, tidy, variable } from "../../src/backend/tf.js";
import { bytesToFloat32, float32ToBytes } from "../../src/checkpoint/dtype.js";
import { nativeMissing } from "./native-runtime.js";

const VALUES = Float32Array.of(1.00390625, 1.01171875, -2.7649, 1e-30, 3e38, 0, -0, 65504);

describe.skipIf(nativeMissing)("bfloat16", () => {
	beforeAll(() => selectBackend("native-cpu"));
	const read = (x: Tensor2D) => tidy(() => [...toFloat32(x).dataSync()]);
	const rounded = [...bytesToFloat32(float32ToBytes(VALUES, "BF16"), "BF16")];

	it("rounds to nearest even, and takes a file's bytes as they are", () => {
		const narrow = tidy(() => toBfloat16(tensor2d(VALUES, [2, 4])));
		expect(isBfloat16(narrow)).toBe(true);
		expect(read(narrow)).toEqual(rounded);
		const bytes = float32ToBytes(VALUES, "BF16");
		const stored = bfloat16FromBytes(bytes, [4, 2]) as Tensor2D;
		bytes.fill(0); // a loader's scratch buffer is overwritten at once
		expect(stored.shape).toEqual([4, 2]);
		expect(read(stored)).toEqual(rounded);
		narrow.dispose();
		stored.dispose();
	});

	it("multiplies, gathers and reshapes", () => {
		tidy(() => {
			const a = toBfloat16(tensor2d([1, 2, 3, 4], [2, 2]));
			expect(read(matMulBfloat16(a, a))).toEqual([7, 10, 15, 22]);
			expect(read(matMulBfloat16(a, a, false, true))).toEqual([5, 11, 11, 25]);
			expect(read(matMulBfloat16(a, a, true))).toEqual([10, 14, 14, 20]);
			expect(read(gatherBfloat16(a, tensor1d([1, 0, 1], "int32")))).toEqual([3, 4, 1, 2, 3, 4]);
			const flat = reshapeBfloat16(a, [1, -1]);
			expect(flat.shape).toEqual([1, 4]);
			expect(isBfloat16(flat)).toBe(true);
		});
	});

	it("is tracked by the engine and freed on the device", () => {
		const { binding } = currentNativeBackend()!;
		const [tensors, onDevice] = [memory().numTensors, binding.getNumOfTensors()];
		const kept = tidy(() => keep(toBfloat16(tensor2d(VALUES, [2, 4]))));
		expect(memory().numTensors).toBe(tensors + 1);
		const owner = variable(kept, false);
		kept.dispose();
		expect(isBfloat16(owner)).toBe(true);
		expect(binding.getNumOfTensors()).toBe(onDevice + 1);
		owner.dispose();
		expect(memory().numTensors).toBe(tensors);
		expect(binding.getNumOfTensors()).toBe(onDevice);
	});

	it("is refused by ordinary ops and by read-back, by its name", () => {
		tidy(() => {
			const x = tensor2d([1, 2, 3, 4], [2, 2]);
			const narrow = toBfloat16(x);
			expect(() => matMul(x, narrow)).toThrow(/expected to be a float tensor but is a bfloat16 tensor/);
			expect(() => add(x, narrow)).toThrow(/expected to be a float tensor but is a bfloat16 tensor/);
			expect(() => toBfloat16(narrow)).toThrow("expected a float32 tensor, got one in bfloat16, of shape [2,2]");
			expect(() => toFloat32(x)).toThrow("expected a bfloat16 tensor, got one in float32, of shape [2,2]");
			expect(() => narrow.dataSync()).toThrow(/TF_DataType: 14/); // DT_BFLOAT16
		});
	});

	it("is an argument, a captured tensor and a result of compiled functions", () => {
		const before = memory().numTensors;
		const weight = tidy(() => keep(toBfloat16(tensor2d([1, 2, 3, 4], [2, 2]))));
		const captured = compile((x: Tensor2D) => matMulBfloat16(x, weight));
		const x = tidy(() => toBfloat16(tensor2d([1, 0, 0, 2], [2, 2])));
		for (let call = 0; call < 3; call++) {
			const y = captured(x);
			expect(isBfloat16(y)).toBe(true);
			expect(read(y)).toEqual([1, 2, 6, 8]);
			y.dispose();
		}
		expect(captured.recordings).toBe(1);
		captured.dispose();
		const widen = compile((x: Tensor2D) => (isBfloat16(x) ? toFloat32(x) : add(x, 1)));
		for (const twice of [1, 2]) {
			tidy(() => {
				expect([...widen(x).dataSync()]).toEqual([1, 0, 0, 2]);
			});
			tidy(() => {
				expect([...widen(tensor2d([twice, 0, 0, 0], [2, 2])).dataSync()]).toEqual([twice + 1, 1, 1, 1]);
			});
		}
		expect(widen.recordings).toBe(2); // the type is part of the signature
		widen.dispose();
		x.dispose();
		weight.dispose();
		expect(memory().numTensors).toBe(before);
	});
});
