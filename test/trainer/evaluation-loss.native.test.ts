/** The held-out loss as a graph, on the golden multimodal model: torch's loss, whatever the batches and chunks, and eager ops'. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memory } from "../../src/backend/tf.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { countLabels, type TrainingExample } from "../../src/trainer/collate.js";
import { EvaluationLoss, type EvaluationLossOptions } from "../../src/trainer/evaluation-loss.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenPath } from "../fixtures/read-golden.js";
import { examples as goldenExamples } from "./golden.suite.js";

const { loss: torch } = JSON.parse(readFileSync(goldenPath("train.json"), "utf8")) as { loss: number };

describe.skipIf(nativeMissing)(`on native-cpu (${nativeMissing ?? "staged"})`, () => {
	let model: Qwen2_5VLModel;
	let examples: TrainingExample[];
	beforeAll(async () => {
		model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu" });
		examples = await goldenExamples();
	});
	afterAll(() => model?.[Symbol.asyncDispose]());

	async function distance(rows: readonly TrainingExample[], options: EvaluationLossOptions): Promise<number> {
		const evaluation = await EvaluationLoss.open(model, rows, options);
		const losses = [await evaluation.measure(), await evaluation.measure()];
		evaluation.dispose();
		expect(losses[1]).toBe(losses[0]); // the same graph, the same bits
		return Math.abs(losses[0] / torch - 1);
	}

	it("is torch's, in graphs and eagerly, alone and in batches", async () => {
		for (const options of [{ batchSize: 1 }, { batchSize: 2 }, { batchSize: 2, eager: true }]) {
			expect(await distance(examples, options)).toBeLessThan(1e-5);
		}
	});

	it("is the same in chunks of logits, and leaves no tensor behind", async () => {
		const copies = Array.from({ length: 16 }, () => examples).flat();
		expect(copies.reduce((sum, { encoded }) => sum + countLabels(encoded), 0)).toBeGreaterThan(256);
		const before = memory().numTensors;
		expect(await distance(copies, { batchSize: copies.length })).toBeLessThan(1e-5);
		expect(memory().numTensors).toBe(before);
	});
});
