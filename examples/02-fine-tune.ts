/**
 * Fine-tunes the judge on judgements that were kept (example 01 writes them), and saves a checkpoint that transformers loads.
 *
 *     npx tsx examples/02-fine-tune.ts [--filtered out/01/filtered_samples.json] [--output_path out/02] [--judge examples/judge]
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel, readConversations, readJudgedRollouts, Trainer, toConversation, writeConversations } from "../src/index.js";

const { values } = parseArgs({
	options: {
		filtered: { type: "string", default: "out/01/filtered_samples.json" },
		output_path: { type: "string", default: "out/02" },
		judge: { type: "string", default: "examples/judge" },
		epochs: { type: "string", default: "2" },
	},
});
async function* conversations() {
	for await (const rollout of readJudgedRollouts(values.filtered)) yield toConversation(rollout);
}
await mkdir(values.output_path, { recursive: true });
const file = join(values.output_path, "rejection_sampling_train.json");
console.log(`${await writeConversations(file, conversations())} conversations in ${file}`);

await using judge = await loadModel(values.judge, { trainable: true });
const trainer = new Trainer(judge, {
	savePath: join(values.output_path, "checkpoint"),
	logDir: join(values.output_path, "logs"),
	trainBatchSize: 16,
	microTrainBatchSize: 16,
	maxEpochs: Number(values.epochs),
	learningRate: 5e-4, // a million parameters take more than the 2.5e-6 that is right for billions
	onEvent: (event) => {
		if (event.type === "step")
			console.log(`step ${event.step}/${event.totalSteps}  loss ${event.loss.toFixed(4)}  ${event.etaSeconds.toFixed(0)} s left`);
	},
});
const { steps, finalLoss } = await trainer.fit(readConversations(file));
console.log(`${steps} steps, loss ${finalLoss.toFixed(4)}; checkpoint in ${join(values.output_path, "checkpoint")}`);
