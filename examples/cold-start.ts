/**
 * Makes the bundled judge from nothing, with the library's own Trainer: a million random parameters → look → see → judge → misjudge.
 *
 *     npx tsx examples/cold-start.ts [--output_path out/cold-start] [--see_steps …] [--judge_steps …] [--misjudge_steps …] [--seed 0]
 *
 * Stages, in the order that decides (docs/demo.md has the measurements):
 *   look      describe one picture
 *   see       describe two pictures; no caption in the prompt, or the model copies it
 *   judge     the whole reasoning, which spells the comparison word by word; a third of the rows are text-only drills
 *   misjudge  a noisy teacher that overlooks defects and then leans to Image 1: the faults that rejection sampling removes
 * Each stage's checkpoint is kept; the last one is what examples/judge has. The other files of examples/judge (configuration,
 * tokenizer, templates) are made by cold-start/build_judge_files.py.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
	evaluate,
	generateCoT,
	initModel,
	loadDataset,
	loadModel,
	readPromptTemplate,
	Trainer,
	type TrainingConversation,
} from "../src/index.js";
import { drawInitialWeights } from "./cold-start/initial-weights.js";
import { drillLesson, judgeLesson, type Lesson, lookLesson, misjudgeLesson, seeLesson } from "./cold-start/lessons.js";
import { renderPicturePool } from "./cold-start/picture-pool.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
	options: {
		output_path: { type: "string", default: "out/cold-start" },
		judge: { type: "string", default: here("judge") },
		from: { type: "string" },
		look_steps: { type: "string", default: "400" },
		see_steps: { type: "string", default: "400" },
		judge_steps: { type: "string", default: "800" },
		misjudge_steps: { type: "string", default: "132" },
		look_lr: { type: "string", default: "2e-3" },
		see_lr: { type: "string", default: "2e-3" },
		judge_lr: { type: "string", default: "1.5e-3" },
		misjudge_lr: { type: "string", default: "6e-4" },
		seed: { type: "string", default: "0" },
	},
});
const BATCH = 32;
const DRILL_SHARE = 1 / 3;
const seed = Number(values.seed);
const started = Date.now();
const log = (line: string) => console.log(`${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s  ${line}`);

const template = await readPromptTemplate(join(values.judge, "prompt.txt"));
const pool = await renderPicturePool(join(values.output_path, "pictures"));
log(`pictures in ${pool.folder}`);
const model = values.from ? await loadModel(values.from, { trainable: true }) : await initModel(values.judge, { seed });
if (!values.from) drawInitialWeights(model, seed);
log(model.backendReason);

function row({ human, gpt, images }: Lesson): TrainingConversation {
	return {
		conversations: [
			{ from: "human", value: human },
			{ from: "gpt", value: gpt },
		],
		images: images.map((name) => join(pool.folder, name)),
	};
}

async function stage(name: string, steps: number, learningRate: number, lesson: (i: number) => Lesson): Promise<void> {
	if (steps === 0) return;
	const rows = Array.from({ length: steps * BATCH }, (_, i) => () => row(lesson(i)));
	const savePath = join(values.output_path, name);
	const losses: number[] = [];
	const trainer = new Trainer(model, {
		...{ savePath, learningRate, seed, trainBatchSize: BATCH, microTrainBatchSize: BATCH, maxEpochs: 1 },
		...{ betas: [0.9, 0.98], weightDecay: 0.02, warmupRatio: 0.03, logDir: join(values.output_path, "logs", name) },
		onEvent: (event) => {
			if (event.type !== "step") return;
			losses.push(event.loss);
			if (event.step % 50 && event.step !== event.totalSteps) return;
			const mean = losses.splice(0).reduce((a, b, _, all) => a + b / all.length, 0);
			log(
				`${name} ${event.step}/${event.totalSteps}  loss ${mean.toFixed(4)}  ${event.tokensPerSecond.toFixed(0)} tokens/s  ${event.etaSeconds.toFixed(0)} s left`,
			);
		},
	});
	await trainer.fit(rows);
	log(`${name}: checkpoint in ${savePath}`);
}

await stage("look", Number(values.look_steps), Number(values.look_lr), (i) => lookLesson(`look/${seed}/${i}`, pool));
await stage("see", Number(values.see_steps), Number(values.see_lr), (i) => seeLesson(`see/${seed}/${i}`, pool));
await stage("judge", Number(values.judge_steps), Number(values.judge_lr), (i) =>
	i % Math.round(1 / DRILL_SHARE) === 0 ? drillLesson(`drill/${seed}/${i}`, template) : judgeLesson(`judge/${seed}/${i}`, template, pool),
);
await score("after judge");
await stage("misjudge", Number(values.misjudge_steps), Number(values.misjudge_lr), (i) =>
	misjudgeLesson(`misjudge/${seed}/${i}`, template, pool),
);
await score("cold start");
await model[Symbol.asyncDispose]();

async function score(when: string): Promise<void> {
	const pairs = loadDataset(`hpdv3:${here("data/heldout.json")}`, { order: "both" });
	const { accuracy, ci, parseRate, saysImage1 } = await evaluate(
		generateCoT(pairs, model, { batchSize: 200, maxNewTokens: 180, promptTemplate: template, temperature: 0 }),
	);
	const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
	log(
		`${when}: held-out accuracy ${percent(accuracy)} [${ci.map(percent)}], parsed ${percent(parseRate)}, says Image 1 ${percent(saysImage1)}`,
	);
}
