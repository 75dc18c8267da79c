/** Every op of the contract suite, forward and gradient: the captured graph gives what the eager ops give. */
import { beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../../src/backend/graph/compile.js";
import { selectBackend } from "../../../src/backend/select-backend.js";
import * as tf from "../../../src/backend/tf.js";
import { nativeMissing } from "../native-runtime.js";
import { OP_CASES, type OpCase } from "../ops.cases.js";
import { expectSame } from "./expect-same.js";

const tensorsOf = ({ inputs, dtypes }: OpCase, scale = 1) =>
	inputs.map(({ values, shape }, i) => {
		const dtype = dtypes?.[i] ?? "float32";
		return tf.tensor(dtype === "float32" ? values.map((value) => value * scale) : [...values], [...shape], dtype);
	});

function differentiable({ differentiable, dtypes, inputs, gradientMissing }: OpCase): number[] {
	if (gradientMissing?.tensorflow) return [];
	return differentiable ?? (dtypes ? [] : inputs.map((_, i) => i));
}

/** What comes from above, without a pattern: for 1 everywhere some gradients are zero but for rounding. */
function cotangent({ inputs, reference }: OpCase): tf.Tensor {
	const { values, shape } = reference(inputs);
	return tf.tensor(
		values.map((_, i) => 0.5 + Math.cos(i * 3.7)),
		[...shape],
	);
}

/** The recorded (or only traced) call and two calls of the graph, on other values: each equals its eager call, and nothing stays behind. */
function checkCaptured(opCase: OpCase, fn: (...inputs: tf.Tensor[]) => tf.Tensor): void {
	checkMode(opCase, fn, false);
	checkMode(opCase, fn, true);
}

function checkMode(opCase: OpCase, fn: (...inputs: tf.Tensor[]) => tf.Tensor, trace: boolean): void {
	const captured = compile(fn, { trace });
	const { numTensors } = tf.memory();
	for (const scale of [1, 0.75, 1.25]) {
		tf.tidy(() => {
			const inputs = tensorsOf(opCase, scale);
			expectSame(captured(...inputs), fn(...inputs));
		});
	}
	expect(captured.recordings).toBe(1);
	expect(tf.memory().numTensors, "tensors left behind").toBe(numTensors);
	captured.dispose();
}

describe.skipIf(nativeMissing)("op contract, captured", () => {
	beforeAll(() => selectBackend("native-cpu"));

	describe.each(OP_CASES.map((opCase) => [opCase.name, opCase] as const))("%s", (_, opCase) => {
		it("forward", () => checkCaptured(opCase, opCase.run));
		for (const which of differentiable(opCase)) {
			it(`gradient of input ${which}`, () =>
				checkCaptured(opCase, (...inputs) => {
					const of = (x: tf.Tensor) => opCase.run(...inputs.map((input, i) => (i === which ? x : input)));
					return tf.grad(of)(inputs[which], cotangent(opCase));
				}));
		}
	});
});
