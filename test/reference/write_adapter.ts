/**
 * For read_adapter.py: three adapters that are trained here for a few steps, with the loss that each then has on the golden batch, and one of them merged.
 * `node --import tsx test/reference/write_adapter.ts FOLDER`
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LoraOptions } from "../../src/model/lora/lora-options.js";
import { loadModel, saveModel } from "../../src/model/qwen2_5_vl/load.js";
import { Trainer } from "../../src/trainer/trainer.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";
import { inputsOf } from "../model/qwen2_5_vl.golden.js";

const CASES: Record<string, LoraOptions> = {
	all: { rank: 4, alpha: 8 },
	rslora: { rank: 8, alpha: 4, useRslora: true, targetModules: ["q_proj", "v_proj", "qkv"], layersToTransform: [0, 2], dropout: 0.1 },
	pattern: { rank: 2, targetModules: ".*language_model.*(up|down)_proj", modulesToSave: ["lm_head", "merger"] },
};

const [folder] = process.argv.slice(2);
const rows = Array.from({ length: 6 }, (_, i) => ({
	messages: [
		{ role: "user" as const, content: `number ${i}` },
		{ role: "assistant" as const, content: `the answer is ${i}` },
	],
}));
const inputs = inputsOf(await golden("forward"));
for (const [name, lora] of Object.entries(CASES)) {
	await using model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu", lora });
	await new Trainer(model, { trainBatchSize: 3, maxEpochs: 4, learningRate: 1e-2, savePath: join(folder, name) }).fit(rows);
	const logits = await model.forward(inputs);
	writeFileSync(join(folder, `${name}.f32`), new Uint8Array(((await logits.data()) as Float32Array).buffer));
	if (name === "all") await saveModel(model, join(folder, "merged"), { merge: true });
	logits.dispose();
}
