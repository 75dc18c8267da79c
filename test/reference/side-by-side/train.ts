/**
 * Our half of the comparison with transformers + torch (README.md says how to run it): trains the demo's judge on the demo's conversations and writes, into FOLDER,
 *
 *     batches.json    the rows as messages, our token ids and labels, and which rows each step had, in order
 *     pixels.f32      our pixel values of the first rows' images, end to end
 *     ours-<dtype>.json, ours-<dtype>/    loss and gradient norm of every step; the trained model
 *
 *     npx tsx test/reference/side-by-side/train.ts FOLDER CONVERSATIONS [DTYPE] [STEPS]
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type EncodedConversation, loadModel, readConversations, type ShareGptConversation, Trainer } from "../../../src/index.js";
import { conversationMessages } from "../../../src/trainer/conversation-messages.js";

/** The demo's (examples/demo.yaml), in batches of 8: torch takes seconds for 32 on a shared core. */
const SETTINGS = {
	learningRate: 5e-4,
	betas: [0.9, 0.98] as [number, number],
	weightDecay: 0.01,
	maxGradNorm: 1,
	trainBatchSize: 8,
	seed: 0,
};
const WARMUP_RATIO = 0.03;
const PIXELS_OF = 64;

const [folder, file, dtype = "float32", stepsArgument = "200"] = process.argv.slice(2);
const totalSteps = Number(stepsArgument);
const dataRoot = resolve("examples/data");
await mkdir(folder, { recursive: true });

const rows: ShareGptConversation[] = [];
for await (const row of readConversations(file)) rows.push(row);
const bfloat16 = dtype === "bfloat16";
await using model = await loadModel("examples/judge", { backend: "native-cpu", dtype: bfloat16 ? "bfloat16" : "float32", trainable: true });

const messages = rows.map((row, i) => conversationMessages(row, `row ${i}`, dataRoot));
const encoded: EncodedConversation[] = [];
for (const one of messages) encoded.push(await model.processor.encodeConversation(one));
const pixels = encoded
	.slice(0, PIXELS_OF)
	.flatMap(({ images }) => images.map(({ pixelValues }) => Buffer.from(pixelValues.data.slice().buffer)));
await writeFile(join(folder, "pixels.f32"), Buffer.concat(pixels));

const steps: number[][] = [];
const started = performance.now();
const trainer = new Trainer(model, {
	...SETTINGS,
	...{
		savePath: join(folder, `ours-${dtype}`),
		dataRoot,
		microTrainBatchSize: 8,
		maxEpochs: 1000,
		maxSteps: totalSteps,
		warmupRatio: WARMUP_RATIO,
	},
	onEvent(event) {
		if (event.type !== "step") return;
		steps.push(event.rows);
		if (event.step % 20 === 0) console.log(`${event.step}/${totalSteps} loss ${event.loss.toFixed(5)}`);
	},
});
const { history } = await trainer.fit(rows);
const seconds = (performance.now() - started) / 1000;
const curve = history.map(({ loss, gradNorm, learningRate }) => ({ loss, gradNorm, learningRate }));
await writeFile(join(folder, `ours-${dtype}.json`), JSON.stringify({ seconds, dtype, curve }));
await writeFile(
	join(folder, "batches.json"),
	JSON.stringify({
		settings: { ...SETTINGS, totalSteps, warmupSteps: Math.ceil(WARMUP_RATIO * totalSteps) },
		judge: resolve("examples/judge"),
		pixelsOf: PIXELS_OF,
		rows: messages.map((one, i) => ({ messages: one, ids: [...encoded[i].inputIds], mask: [...encoded[i].assistantMask] })),
		steps,
	}),
);
console.log(`${totalSteps} steps in ${seconds.toFixed(0)} s`);
