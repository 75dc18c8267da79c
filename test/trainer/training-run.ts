/**
 * A training run as a process, to be killed: `node --import tsx test/trainer/training-run.ts FOLDER`. It goes on from FOLDER's newest
 * checkpoint, if there is one, writes the rows of each step to order.jsonl, and ends with the model in FOLDER/out.
 */
import { appendFileSync, existsSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import { Trainer } from "../../src/trainer/trainer.js";
import { goldenPath } from "../fixtures/read-golden.js";

await run(process.argv[2]);

async function run(folder: string): Promise<void> {
	await using model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu", maxPixels: 3136 });
	const savePath = path.join(folder, "out");
	const resumes = existsSync(savePath) && readdirSync(savePath).some((name) => name.startsWith("checkpoint-"));
	if (!resumes) rmSync(path.join(folder, "logs"), { recursive: true, force: true }); // killed before its first checkpoint: it begins anew
	const images = ["two-red-circles.png", "blue-triangle.png"].map((name) => path.resolve("test/fixtures/hpdv3/images", name));
	const rows = Array.from({ length: 9 }, (_, i) => ({
		conversations: [
			{ from: "human" as const, value: i % 3 === 0 ? `${"<image>".repeat(1 + (i % 2))} number ${i}` : `number ${i}` },
			{ from: "gpt" as const, value: `the answer is ${"very ".repeat(i)}${i}` },
		],
		images: i % 3 === 0 ? images.slice(0, 1 + (i % 2)) : [],
	}));
	await new Trainer(model, {
		...{ trainBatchSize: 3, microTrainBatchSize: 2, maxEpochs: 4, learningRate: 1e-3, seed: 3 },
		...{ savePath, saveSteps: 2, saveTotalLimit: 2, logDir: path.join(folder, "logs") },
		resumeFromCheckpoint: resumes ? savePath : undefined,
		onEvent(event) {
			if (event.type === "step") appendFileSync(path.join(folder, "order.jsonl"), `${JSON.stringify([event.step, event.rows])}\n`);
		},
	}).fit(rows);
}
