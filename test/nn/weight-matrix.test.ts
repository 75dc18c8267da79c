/** A weight matrix computing in bfloat16 against the same in float32, for both ways of keeping it, eager and captured. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBfloat16, toBfloat16, toFloat32 } from "../../src/backend/bfloat16.js";
import { compile } from "../../src/backend/graph/compile.js";
import { fromInt8, toInt8 } from "../../src/backend/int8.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import {
	grads,
	matMul,
	memory,
	mul,
	randomNormal,
	sum,
	type Tensor,
	type Tensor2D,
	tensor1d,
	tensor2d,
	tidy,
	type Variable,
	variable,
	variableGrads,
} from "../../src/backend/tf.js";
import { WeightMatrix } from "../../src/nn/weight-matrix.js";
import { nativeMissing } from "../backend/native-runtime.js";

const [N, IN, OUT] = [33, 48, 20];

/** |a − b| in L2, over |b|. */
function relativeL2(got: Tensor, want: Tensor): number {
	const [a, b] = [got.dataSync(), want.dataSync()];
	expect(a.length).toBe(b.length);
	return Math.hypot(...a.map((x, i) => x - b[i])) / Math.hypot(...b);
}

describe.skipIf(nativeMissing)("WeightMatrix in bfloat16", () => {
	let master: Variable;
	let stored: Variable;
	let x: Tensor2D;
	beforeAll(async () => {
		await selectBackend("native-cpu");
		master = variable(randomNormal([OUT, IN], 0, 1, "float32", 1));
		stored = variable(toBfloat16<Tensor>(master), false);
		x = randomNormal([N, IN], 0, 1, "float32", 2);
	});
	afterAll(() => {
		for (const tensor of [master, stored, x]) tensor.dispose();
	});
	const exact = () => new WeightMatrix(master, false);

	it("projects as float32 does, to 3 × 2⁻⁹, the same from stored and from rounded weights", () => {
		tidy(() => {
			const want = exact().project(x);
			const fromMaster = new WeightMatrix(master, true).project(x);
			const fromStored = new WeightMatrix(stored, true).project(x);
			expect(relativeL2(fromMaster, want)).toBeLessThan(3 * 2 ** -9);
			expect(relativeL2(fromMaster, want)).toBeGreaterThan(2 ** -12); // it is not float32 by mistake
			expect([...fromStored.dataSync()]).toEqual([...fromMaster.dataSync()]);
			expect(isBfloat16(fromStored)).toBe(false);
		});
	});

	it("has float32's gradients of x and W, to 4 × 2⁻⁹, and of x alone where W is frozen", () => {
		tidy(() => {
			const probe = randomNormal([N, OUT], 0, 1, "float32", 3);
			const loss = (w: WeightMatrix) => (x: Tensor) => sum(mul(w.project(x as Tensor2D), probe)) as Tensor;
			const both = (w: WeightMatrix) => {
				const { grads: dw } = variableGrads(() => loss(w)(x).asScalar(), [master]);
				return [grads(loss(w))([x])[0], dw[master.name]];
			};
			const want = both(exact());
			const got = both(new WeightMatrix(master, true));
			got.forEach((gradient, i) => {
				expect(gradient.shape).toEqual(want[i].shape);
				expect(relativeL2(gradient, want[i])).toBeLessThan(4 * 2 ** -9);
			});
			const [frozen] = grads(loss(new WeightMatrix(stored, true)))([x]);
			expect([...frozen.dataSync()]).toEqual([...got[0].dataSync()]);
		});
	});

	it("looks up rounded rows, whose gradient adds up in the float32 master", () => {
		tidy(() => {
			const ids = tensor1d([3, 0, 3], "int32");
			const rows = new WeightMatrix(stored, true).rows(ids);
			expect([...new WeightMatrix(master, true).rows(ids).dataSync()]).toEqual([...rows.dataSync()]);
			const all = toFloat32<Tensor>(stored).arraySync() as number[][];
			expect(rows.arraySync()).toEqual([all[3], all[0], all[3]]);
			const { grads: dw } = variableGrads(() => sum(new WeightMatrix(master, true).rows(ids)), [master]);
			const sums = sum(dw[master.name], 1).arraySync() as number[];
			expect(sums).toEqual(Array.from({ length: OUT }, (_, row) => (row === 3 ? 2 * IN : row === 0 ? IN : 0)));
		});
	});

	it.each([false, true])("has the gradient of x of the matrix that it is, in int8, computing in bfloat16: %s", (bfloat16) => {
		const { values, scale } = toInt8(master as Tensor as Tensor2D);
		const [stored, scales] = [variable(values, false), variable(scale as Tensor, false)];
		tidy(() => {
			const dequantised = mul(fromInt8(values, "float"), scale.expandDims(1)) as Tensor2D;
			const probe = randomNormal([N, OUT], 0, 1, "float32", 3);
			const loss = (w: WeightMatrix) => (x: Tensor) => sum(mul(w.project(x as Tensor2D), probe)) as Tensor;
			const bound = bfloat16 ? 4 * 2 ** -9 : 1e-6;
			const exact = matMul(probe as Tensor2D, dequantised);
			const int8 = new WeightMatrix(stored, bfloat16, scales);
			expect(relativeL2(grads(loss(int8))([x])[0], exact)).toBeLessThan(bound);
			const few = grads((x) => sum(mul(int8.project(x as Tensor2D), probe.slice(0, 4))))([x.slice(0, 4)]);
			expect(relativeL2(few[0], exact.slice(0, 4))).toBeLessThan(bound);
		});
		for (const tensor of [stored, scales, values, scale]) tensor.dispose();
	});

	it("takes a convolution's kernel as a matrix, and gives its gradient the kernel's shape", () => {
		const kernel = variable(randomNormal([4, 3, 2, 2], 0, 1, "float32", 4));
		tidy(() => {
			const patches = randomNormal([5, 12], 0, 1, "float32", 5) as Tensor2D;
			const narrow = new WeightMatrix(kernel, true);
			expect(relativeL2(narrow.project(patches), new WeightMatrix(kernel, false).project(patches))).toBeLessThan(3 * 2 ** -9);
			const { grads: dw } = variableGrads(() => sum(narrow.project(patches)), [kernel]);
			expect(dw[kernel.name].shape).toEqual(kernel.shape);
		});
		kernel.dispose();
	});

	it("gives the same captured, gradients too, and leaks nothing", () => {
		const before = memory().numTensors;
		const step = (x: Tensor2D) => {
			const { value, grads: dw } = variableGrads(() => sum(new WeightMatrix(master, true).project(x)), [master]);
			return { value, dw: dw[master.name], y: new WeightMatrix(stored, true).project(x) };
		};
		const captured = compile(step);
		for (let call = 0; call < 3; call++) {
			tidy(() => {
				const [got, want] = [captured(x), step(x)];
				for (const key of ["value", "dw", "y"] as const) expect(relativeL2(got[key], want[key])).toBeLessThan(1e-5);
			});
		}
		expect(captured.recordings).toBe(1);
		captured.dispose();
		expect(memory().numTensors).toBe(before);
	});
});

describe("WeightMatrix in float32", () => {
	it("is a plain product", async () => {
		if (nativeMissing) await selectBackend("cpu");
		const weight = variable(tensor2d([1, 2, 3, 4], [2, 2]));
		tidy(() => {
			expect([...new WeightMatrix(weight, false).project(tensor2d([1, 10], [1, 2])).dataSync()]).toEqual([21, 43]);
		});
		weight.dispose();
	});
});
