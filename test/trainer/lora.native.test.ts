/** A LoRA adapter through Trainer: what is trained, what is saved, and a run that goes on. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memory } from "../../src/backend/tf.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import type { LoraOptions } from "../../src/model/lora/lora-options.js";
import { type LoadModelOptions, loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenPath } from "../fixtures/read-golden.js";

const BASE = goldenPath("tiny-qwen2_5_vl");
const LORA: LoraOptions = { rank: 2, dropout: 0.2, targetModules: ["q_proj", "merger.mlp.2"], modulesToSave: ["language_model.norm"] };
const FAST: TrainerOptions = { trainBatchSize: 3, microTrainBatchSize: 2, maxEpochs: 2, learningRate: 1e-2, warmupRatio: 0 };
const ROWS = Array.from({ length: 7 }, (_, i) => ({
	messages: [
		{ role: "user" as const, content: `number ${i}` },
		{ role: "assistant" as const, content: `it is ${i}` },
	],
}));

const load = (options: LoadModelOptions = { lora: LORA }, dir = BASE) => loadModel(dir, { backend: "native-cpu", ...options });
const values = (model: Qwen2_5VLModel) => [...model.namedParameters()].map(([name, v]) => [name, [...v.dataSync()]] as const);

describe.skipIf(nativeMissing)("training an adapter", () => {
	let dir: string;
	beforeEach(async () => {
		dir = await mkdtemp(join(tmpdir(), "rft-lora-train-"));
	});
	afterEach(() => rm(dir, { recursive: true }));

	it("trains and saves it alone, and goes on to the same bits", async () => {
		await using straight = await load();
		const start = values(straight);
		const before = memory().numTensors;
		const result = await new Trainer(straight, { ...FAST, savePath: dir, saveSteps: 2 }).fit(ROWS);
		expect(memory().numTensors).toBe(before);
		expect(result.steps).toBe(6);
		expect(result.finalLoss).toBeLessThan(result.history[0].loss);
		const names = start.map(([name]) => name);
		expect(names).toHaveLength(2 * 5 + 1);
		const moved = values(straight).filter(([, now], i) => now.some((v, j) => v !== start[i][1][j]));
		// No image, so that the vision tower's is not reached.
		expect(moved.map(([name]) => name)).toEqual(names.filter((name) => !name.startsWith("visual.")));

		const checkpoint = join(dir, "checkpoint-2");
		const files = ["adapter_config.json", "adapter_model.safetensors", "checksums.json", "optimizer.safetensors", "trainer_state.json"];
		expect((await readdir(checkpoint)).sort()).toEqual(files);
		const optimizer = await openSafetensors(join(checkpoint, "optimizer.safetensors"));
		expect(optimizer.header.size).toBe(4 * names.length); // the parameter, two moments, the step
		await optimizer.close();

		await using resumed = await load();
		await new Trainer(resumed, { ...FAST, resumeFromCheckpoint: checkpoint }).fit(ROWS);
		expect(values(resumed)).toEqual(values(straight));
		await using loaded = await load({}, dir);
		expect(values(loaded)).toEqual(values(straight));

		const other = async (lora: LoraOptions, options: TrainerOptions = {}) => {
			await using model = await load({ lora });
			return new Trainer(model, { ...FAST, ...options, resumeFromCheckpoint: checkpoint }).fit(ROWS);
		};
		await expect(other({ ...LORA, alpha: 8 })).rejects.toThrow(/adapter was .*"lora_alpha":16.* and is now .*"lora_alpha":8/);
		await expect(other(LORA, { microTrainBatchSize: 3 })).rejects.toThrow(/microTrainBatchSize was 2 and is now 3/);
	});

	it("trains a loaded one further, on a base in bfloat16", async () => {
		const adapter = goldenPath("tiny-qwen2_5_vl-lora");
		await using model = await load({ adapter, dtype: "bfloat16", trainable: true });
		const start = values(model);
		await new Trainer(model, { ...FAST, maxSteps: 2, freeze: ["model\\.layers\\.0\\..*"] }).fit(ROWS);
		const moved = values(model).filter(([, now], i) => now.some((v, j) => v !== start[i][1][j]));
		expect(moved).toHaveLength(12);
	});
});
