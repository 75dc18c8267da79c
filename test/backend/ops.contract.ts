/**
 * The contract of a backend: each op's result and gradient equal to plain arithmetic, and no tensor left behind.
 *
 * Gradients are compared with central differences of the plain function, in float64: independent of TensorFlow.js
 * and of its gradient registry.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { type BackendName, selectBackend } from "../../src/backend/select-backend.js";
import { tensorFromView } from "../../src/backend/tensor-from-view.js";
import * as tf from "../../src/backend/tf.js";
import { gradientCheckpoint } from "../../src/nn/gradient-checkpoint.js";
import { OP_CASES, type OpCase } from "./ops.cases.js";
import { type Nd, numericGradient } from "./plain-nd.js";

const FORWARD_TOLERANCE = 2e-6;
/** erf is a polynomial on cpu and wasm (Abramowitz & Stegun 7.1.26: 1.5e-7 absolute), so is what is made of it. */
const GRADIENT_TOLERANCE = 2e-5;

/** Runs every case on one backend. */
export function describeOpContract(name: BackendName): void {
	describe(`op contract on ${name}`, () => {
		beforeAll(() => selectBackend(name));

		describe.each(OP_CASES.map((opCase) => [opCase.name, opCase] as const))("%s", (_, opCase) => {
			it("forward", () => checkForward(opCase));
			for (const which of differentiable(opCase)) it(`gradient of input ${which}`, () => checkGradient(opCase, which));
		});
		it("customGrad: the written gradient is used, scaled by what comes from above", checkCustomGrad);
		it("variableGrads: the gradient of each variable", checkVariableGrads);
		it("gradientCheckpoint: the gradients of grads(), one tape inside another", checkGradientCheckpoint);
		it("tensorFromView: the view may be overwritten at once", checkTensorFromView);
		it("tensorFromView: no copy is kept when the tensor is disposed", checkViewDisposal);
	});
}

function differentiable(opCase: OpCase): number[] {
	if (opCase.differentiable) return opCase.differentiable;
	return opCase.dtypes ? [] : opCase.inputs.map((_, i) => i);
}

function toTensor({ values, shape }: Nd, dtype: "float32" | "int32" | "bool" = "float32"): tf.Tensor {
	return tf.tensor([...values], [...shape], dtype);
}

function expectClose(got: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
	const scale = Math.max(1, ...expected.map((value) => (Math.abs(value) < 1e8 ? Math.abs(value) : 1)));
	expect(got.length).toBe(expected.length);
	const worst = Math.max(0, ...expected.map((value, i) => Math.abs(got[i] - value)));
	expect(worst, `got ${Array.from(got)}, expected ${expected}`).toBeLessThanOrEqual(tolerance * scale);
}

function checkForward({ inputs, dtypes, run, reference, dtype = "float32" }: OpCase): void {
	const { numTensors } = tf.memory();
	tf.tidy(() => {
		const output = run(...inputs.map((input, i) => toTensor(input, dtypes?.[i])));
		const expected = reference(inputs);
		expect(output.shape).toEqual([...expected.shape]);
		expect(output.dtype).toBe(dtype);
		expectClose(output.dataSync(), expected.values, FORWARD_TOLERANCE);
	});
	expect(tf.memory().numTensors, "tensors left behind").toBe(numTensors);
}

function checkGradient({ inputs, dtypes, run, reference, gradientMissing }: OpCase, which: number): void {
	const cotangent = reference(inputs).values.map((_, i) => 0.5 + Math.cos(i * 3.7));
	const gradient = () =>
		tf.tidy(() => {
			const tensors = inputs.map((input, i) => toTensor(input, dtypes?.[i]));
			const dy = tf.tensor(cotangent, [...reference(inputs).shape]);
			const of = (x: tf.Tensor) => run(...tensors.map((tensor, i) => (i === which ? x : tensor)));
			return tf.grad(of)(tensors[which], dy).dataSync();
		});
	const missing = gradientMissing?.[tf.getBackend() as "cpu" | "wasm" | "tensorflow"];
	if (missing) {
		// The engine leaks what it saved for the gradient that it could not compute; so the leak check is below this line.
		expect(gradient).toThrow(missing);
		return;
	}
	const { numTensors } = tf.memory();
	const got = gradient();
	expect(tf.memory().numTensors, "tensors left behind").toBe(numTensors);
	expectClose(got, numericGradient(reference, inputs, which, cotangent), GRADIENT_TOLERANCE);
}

function checkCustomGrad(): void {
	tf.tidy(() => {
		// Deliberately not the true gradient of square(): 5 · dy.
		const op = tf.customGrad((x) => ({ value: tf.square(x as tf.Tensor), gradFunc: (dy: tf.Tensor) => tf.mul(dy, 5) }));
		const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => tf.mul(op(x), 3))(tf.tensor1d([2, -1]));
		expectClose(value.dataSync(), [12, 3], FORWARD_TOLERANCE);
		expectClose(grad.dataSync(), [15, 15], FORWARD_TOLERANCE);
	});
}

function checkGradientCheckpoint(): void {
	const weight = tf.variable(tf.tensor2d([0.5, -1, 2, 0.25], [2, 2]));
	const { numTensors } = tf.memory();
	tf.tidy(() => {
		const [x, scale] = [tf.tensor2d([1, 2, 3, -4], [2, 2]), tf.scalar(3)];
		const layer = (x: tf.Tensor2D, [scale]: tf.Tensor[]) => tf.mul(tf.square(tf.matMul(x, weight as tf.Tensor2D)), scale) as tf.Tensor2D;
		// Two layers, so that the outer tape has to live on after the inner one of the second has ended.
		const plain = (x: tf.Tensor) => tf.sum(layer(layer(x as tf.Tensor2D, [scale]), [scale]));
		const checkpointed = (x: tf.Tensor) =>
			tf.sum(gradientCheckpoint(layer, gradientCheckpoint(layer, x as tf.Tensor2D, [scale], [weight]), [scale], [weight]));
		const [want, got] = [plain, checkpointed].map((f) => tf.grads((x) => f(x))([x, weight]));
		for (const [i, gradient] of want.entries()) expectClose(got[i].dataSync(), Array.from(gradient.dataSync()), FORWARD_TOLERANCE);
	});
	expect(tf.memory().numTensors, "tensors left behind").toBe(numTensors);
	weight.dispose();
}

function checkVariableGrads(): void {
	tf.tidy(() => {
		const w = tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2]));
		const b = tf.variable(tf.tensor1d([10, 20]));
		const x = tf.tensor2d([5, 6], [1, 2]);
		// loss = Σ (x·w + b)² → with y = x·w + b: dw = xᵀ·2y, db = 2y
		const { value, grads } = tf.variableGrads(() => tf.sum(tf.square(tf.add(tf.matMul(x, w), b))) as tf.Scalar, [w, b]);
		const y = [5 + 18 + 10, 10 + 24 + 20];
		expectClose(value.dataSync(), [y[0] ** 2 + y[1] ** 2], FORWARD_TOLERANCE);
		expectClose(grads[w.name].dataSync(), [5 * 2 * y[0], 5 * 2 * y[1], 6 * 2 * y[0], 6 * 2 * y[1]], FORWARD_TOLERANCE);
		expectClose(grads[b.name].dataSync(), [2 * y[0], 2 * y[1]], FORWARD_TOLERANCE);
		w.assign(tf.zeros([2, 2]));
		expectClose(tf.add(tf.matMul(x, w), b).dataSync(), [10, 20], FORWARD_TOLERANCE);
		w.dispose();
		b.dispose();
	});
}

function checkTensorFromView(): void {
	const buffer = new Float32Array([9, 1, 2, 3, 4, 9]);
	const ids = new Int32Array([7, 1, 0]);
	tf.tidy(() => {
		const x = tensorFromView<tf.Rank.R2>(buffer.subarray(1, 5), [2, 2]);
		const rows = tensorFromView<tf.Rank.R1>(ids.subarray(1), [2]);
		buffer.fill(Number.NaN);
		ids.fill(-1);
		expect([x.dtype, rows.dtype]).toEqual(["float32", "int32"]);
		expectClose(tf.gather(x, rows).dataSync(), [3, 4, 1, 2], 0);
		expectClose(tensorFromView(new Float32Array([2.5]), []).dataSync(), [2.5], 0);
		expect(tensorFromView(new Int32Array(0), [0, 3]).dataSync()).toHaveLength(0);
	});
	expect(() => tensorFromView(new Float32Array(3), [2, 2])).toThrow(/shape \[2,2\] holds 4 values but the view has 3/);
}

function checkViewDisposal(): void {
	const { numTensors, numDataBuffers } = tf.memory();
	tensorFromView(new Float32Array(1000), [10, 100]).dispose();
	expect(tf.memory()).toMatchObject({ numTensors, numDataBuffers });
}
