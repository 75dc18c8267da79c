/** As compiled-model.native.test.ts, with oneDNN's fused kernels: the same next token everywhere, and logits equal but for rounding. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compile } from "../../../src/backend/graph/compile.js";
import * as tf from "../../../src/backend/tf.js";
import type { ModelInputs } from "../../../src/model/generative-model.js";
import { loadModel } from "../../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { golden, goldenPath } from "../../fixtures/read-golden.js";
import { inputsOf, relativeError } from "../../model/qwen2_5_vl.golden.js";
import { nativeMissing } from "../native-runtime.js";

/** Measured: 1.5e-6. */
const ROUNDING = 5e-6;

describe.skipIf(nativeMissing)("the golden model, captured, on oneDNN", () => {
	let model: Qwen2_5VLModel;
	let inputs: ModelInputs;
	beforeAll(async () => {
		model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu" });
		inputs = inputsOf(await golden("forward"));
	});
	afterAll(() => model?.[Symbol.asyncDispose]());

	it("gives the same tokens", () => {
		const logits = () => {
			const hidden = model.hiddenStates(model.prepare(inputs));
			return model.lmHead(tf.reshape(hidden, [-1, hidden.shape[2]]));
		};
		const captured = compile(logits);
		tf.tidy(() => void captured());
		tf.tidy(() => {
			const [got, expected] = [captured(), logits()];
			expect(relativeError(got.dataSync(), expected.dataSync())).toBeLessThanOrEqual(ROUNDING);
			expect([...tf.argMax(got, -1).dataSync()]).toEqual([...tf.argMax(expected, -1).dataSync()]);
		});
		captured.dispose();
	});
});
