/**
 * The tiny golden Qwen2.5-VL, captured: logits, the gradient of every parameter, and whole AdamW steps equal the eager ones. Its inputs are host arrays, constants
 * of the graph, so each function has one signature.
 *
 * oneDNN is off here, and then the two are equal bit for bit: with it, TensorFlow fuses ops of a graph that it runs one by one when eager, and rounding
 * differs (1.5e-6 of the largest logit, 2.2e-6 of a gradient). compiled-tokens.native.test.ts has it on.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../../src/backend/graph/compile.js";
import { currentNativeBackend, type NativeBackend } from "../../../src/backend/native-binding.js";
import * as tf from "../../../src/backend/tf.js";
import type { ModelInputs } from "../../../src/model/generative-model.js";
import { loadModel } from "../../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { sumCrossEntropy } from "../../../src/trainer/loss.js";
import { golden, goldenPath } from "../../fixtures/read-golden.js";
import { inputsOf } from "../../model/qwen2_5_vl.golden.js";
import { nativeMissing } from "../native-runtime.js";
import { expectSame } from "./expect-same.js";

const STEPS = 3;

describe.skipIf(nativeMissing)("the golden model, captured", () => {
	let model: Qwen2_5VLModel;
	let inputs: ModelInputs;
	let variables: tf.Variable[];
	beforeAll(async () => {
		process.env.TF_ENABLE_ONEDNN_OPTS = "0"; // read when TensorFlow is loaded, in this file's own process
		model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu" });
		inputs = inputsOf(await golden("forward"));
		variables = [...model.namedParameters().values()];
	});
	afterAll(() => model?.[Symbol.asyncDispose]());

	const logits = () => {
		const hidden = model.hiddenStates(model.prepare(inputs));
		return model.lmHead(tf.reshape(hidden, [-1, hidden.shape[2]]));
	};
	/** Every token's next one, padding too: all parameters get a gradient. */
	const loss = () => {
		const targets = inputs.inputIds.data.map((id, i, ids) => ids[i + 1] ?? id);
		const weights = tf.fill([targets.length], 1 / targets.length) as tf.Tensor1D;
		return sumCrossEntropy(logits(), tf.tensor1d(targets, "int32"), weights);
	};

	it("gives the same logits, recorded and run", () => {
		const captured = compile(logits);
		for (let i = 0; i < 2; i++) tf.tidy(() => expectSame(captured(), logits()));
		expect(captured.recordings).toBe(1);
		captured.dispose();
	});

	it("gives the same gradient for each parameter", () => {
		const gradients = () => tf.variableGrads(loss, variables);
		const captured = compile(gradients);
		tf.tidy(() => void captured());
		tf.tidy(() => {
			const [got, expected] = [captured(), gradients()];
			expectSame(got.value, expected.value);
			expect(Object.keys(got.grads).length).toBe(variables.length);
			for (const [name, gradient] of Object.entries(expected.grads)) expectSame(got.grads[name], gradient);
		});
		captured.dispose();
	});

	it(`makes the same ${STEPS} AdamW steps, each one call, and leaves nothing behind`, () => {
		const initial = variables.map((variable) => variable.clone());
		const run = (wrap: (step: (rate: tf.Scalar) => tf.Scalar) => (rate: tf.Scalar) => tf.Scalar) => {
			for (const [i, variable] of variables.entries()) tf.tidy(() => variable.assign(initial[i].clone()));
			const { step, dispose } = adamW(variables, loss);
			const once = wrap(step);
			const losses = Array.from({ length: STEPS }, (_, i) => tf.tidy(() => once(tf.scalar(0.01 / (i + 1))).dataSync()[0]));
			dispose();
			return { losses, weights: variables.map((variable) => variable.dataSync()) };
		};
		const eager = run((step) => step);
		const { binding } = currentNativeBackend() as NativeBackend;
		const handles = binding.getNumOfTensors();
		const { numTensors } = tf.memory();
		const compiled: { dispose(): void }[] = [];
		const captured = run((step) => {
			const once = compile(step);
			compiled.push(once);
			return once;
		});
		for (const [i, weight] of captured.weights.entries()) tf.tidy(() => expectSame(tf.tensor(weight), tf.tensor(eager.weights[i])));
		for (const [i, value] of captured.losses.entries()) expect(Math.abs(value / eager.losses[i] - 1)).toBeLessThanOrEqual(1e-6);
		expect(captured.losses[STEPS - 1]).toBeLessThan(captured.losses[0]);
		for (const once of compiled) once.dispose();
		expect([tf.memory().numTensors, binding.getNumOfTensors()]).toEqual([numTensors, handles]);
		tf.dispose(initial);
	});
});

/** A variable that alone holds its value. */
function stateOf(initial: tf.Tensor): tf.Variable {
	const state = tf.variable(initial, false);
	initial.dispose();
	return state;
}

/** AdamW (Loshchilov & Hutter) with all of its state in variables; the learning rate is a tensor, so that it may change. */
function adamW(variables: tf.Variable[], loss: () => tf.Scalar) {
	const zeros = () => variables.map((variable) => stateOf(tf.zerosLike(variable)));
	const [first, second] = [zeros(), zeros()];
	const [power1, power2] = [stateOf(tf.scalar(1)), stateOf(tf.scalar(1))];
	const step = (rate: tf.Scalar): tf.Scalar => {
		const { value, grads } = tf.variableGrads(loss, variables);
		power1.assign(tf.mul(power1, 0.9));
		power2.assign(tf.mul(power2, 0.999));
		for (const [i, variable] of variables.entries()) {
			const gradient = grads[variable.name];
			first[i].assign(tf.add(tf.mul(first[i], 0.9), tf.mul(gradient, 0.1)));
			second[i].assign(tf.add(tf.mul(second[i], 0.999), tf.mul(tf.square(gradient), 0.001)));
			const [mean, square] = [tf.div(first[i], tf.sub(1, power1)), tf.div(second[i], tf.sub(1, power2))];
			const decayed = tf.mul(variable, tf.sub(1, tf.mul(rate, 0.01)));
			variable.assign(tf.sub(decayed, tf.mul(rate, tf.div(mean, tf.add(tf.sqrt(square), 1e-8)))));
		}
		return value;
	};
	return { step, dispose: () => tf.dispose([first, second, power1, power2]) };
}
