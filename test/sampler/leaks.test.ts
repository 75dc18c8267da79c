/** Sampling with the real port holds no tensor from batch to batch, whether it ends, is left early or is stopped. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { memory } from "../../src/backend/tf.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { type GenerateCotOptions, generateCoT } from "../../src/sampler/generate-cot.js";
import { collect } from "../dataset/hpdv3-folder.js";
import { goldenPath } from "../fixtures/read-golden.js";
import { records } from "./records.js";

let model: Qwen2_5VLModel;
beforeAll(async () => {
	model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { minPixels: 784, maxPixels: 3136 });
});
afterAll(() => model?.[Symbol.asyncDispose]());

const sample = (options: GenerateCotOptions, count = 4) =>
	generateCoT(records(count), model, { promptTemplate: "{prompt}", batchSize: 3, samplesPerRecord: 2, maxNewTokens: 6, ...options });

it("leaks nothing over a run, drawn or with a penalty", async () => {
	const before = memory().numTensors;
	const between: number[] = [];
	for await (const { numTokens } of sample({ repetitionPenalty: 1.1, topK: 20, topP: 0.9 }, 12)) {
		expect(numTokens).toBeGreaterThan(0);
		between.push(memory().numTensors);
	}
	expect(Math.max(...between.slice(12))).toBeLessThanOrEqual(Math.max(...between.slice(0, 12)));
	await collect(sample({ temperature: 0, samplesPerRecord: 1 }));
	expect(memory().numTensors).toBe(before);
});

it("leaks nothing where the reader stops, or a signal does", async () => {
	const before = memory().numTensors;
	for await (const _ of sample({})) break;
	const controller = new AbortController();
	let steps = 0;
	const onProgress = () => {
		if (++steps === 4) controller.abort(new Error("enough"));
	};
	await expect(collect(sample({ signal: controller.signal, onProgress }))).rejects.toThrow("enough");
	expect(memory().numTensors).toBe(before);
});
