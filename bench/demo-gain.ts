/**
 * How much the demo's judge gains, over seeds, and against a control: the same number of steps on as many unfiltered judgements.
 *
 *     npx tsx bench/demo-gain.ts [--seeds 0,1,2] [--limit PAIRS] [--judge examples/judge] [--out bench/results/demo-gain.json]
 *
 * Per seed the rollouts are sampled once; the filtered set is what the demo keeps of them, the control a random draw of equally many
 * parsed judgements, right or wrong. Both fine-tune a fresh copy of the judge with the demo's settings.
 */
import { mkdir, writeFile } from "node:fs/promises";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DEMO, DEMO_TRAINING } from "../examples/demo/settings.js";
import {
	type Evaluation,
	evaluate,
	generateCoT,
	type JudgedRollout,
	judgeRollout,
	loadDataset,
	loadModel,
	readPromptTemplate,
	selectPerRecord,
	Trainer,
	toConversation,
} from "../src/index.js";

const { values } = parseArgs({
	options: {
		seeds: { type: "string", default: "0,1,2" },
		limit: { type: "string" },
		judge: { type: "string", default: fileURLToPath(new URL("../examples/judge", import.meta.url)) },
		out: { type: "string", default: fileURLToPath(new URL("results/demo-gain.json", import.meta.url)) },
	},
});
const { samplesPerRecord, selection, ...sampling } = DEMO;
const imageRoot = fileURLToPath(new URL("../examples/data", import.meta.url));
const limit = values.limit === undefined ? undefined : Number(values.limit);
const promptTemplate = await readPromptTemplate(join(values.judge, "prompt.txt"));
const pairs = (name: string) => loadDataset(`hpdv3:${join(imageRoot, name)}`, { imageRoot, order: "both", limit });
const log = (line: string) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
const summary = (e: Evaluation) => ({ accuracy: e.accuracy, ci: e.ci, parseRate: e.parseRate, saysImage1: e.saysImage1, n: e.n });

async function score(model: Awaited<ReturnType<typeof loadModel>>): Promise<Evaluation> {
	return evaluate(generateCoT(pairs("heldout.json"), model, { ...sampling, promptTemplate, temperature: 0 }));
}

async function sample(seed: number): Promise<JudgedRollout[]> {
	await using model = await loadModel(values.judge);
	const judged: JudgedRollout[] = [];
	const rollouts = generateCoT(pairs("train.json"), model, { ...sampling, samplesPerRecord, promptTemplate, seed });
	for await (const rollout of rollouts) judged.push(judgeRollout(rollout, { useCot: true }));
	return judged;
}

async function fineTune(rollouts: JudgedRollout[], seed: number) {
	await using model = await loadModel(values.judge);
	const { steps } = await new Trainer(model, { ...DEMO_TRAINING, dataRoot: imageRoot, seed }).fit(
		rollouts.map((rollout) => toConversation(rollout, { imageRoot })),
	);
	return { conversations: rollouts.length, steps, ...summary(await score(model)) };
}

await using judge = await loadModel(values.judge);
log(judge.backendReason);
const before = summary(await score(judge));
log(`before: ${JSON.stringify(before)}`);
const runs = [];
for (const seed of values.seeds.split(",").map(Number)) {
	const judged = await sample(seed);
	const kept: JudgedRollout[] = [];
	const accepted = judged.filter((r) => r.outcome === "accepted");
	for await (const rollout of selectPerRecord(accepted, selection)) kept.push(rollout);
	log(`seed ${seed}: ${judged.length} sampled, ${accepted.length} right, ${kept.length} kept`);
	const filtered = await fineTune(kept, seed);
	log(`seed ${seed}: filtered ${JSON.stringify(filtered)}`);
	// A rollout's seed is a hash of what it is: sorting by it is a random draw that anyone can repeat.
	const drawn = judged.filter((r) => r.answer).sort((a, b) => a.seed - b.seed);
	const unfiltered = await fineTune(drawn.slice(0, kept.length), seed);
	log(`seed ${seed}: unfiltered ${JSON.stringify(unfiltered)}`);
	runs.push({ seed, sampled: judged.length, right: accepted.length, kept: kept.length, filtered, unfiltered });
}
const mean = (xs: number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;
const gain = mean(runs.map((r) => r.filtered.accuracy - before.accuracy));
const controlGain = mean(runs.map((r) => r.unfiltered.accuracy - before.accuracy));
const machine = `${os.cpus().length} × ${os.cpus()[0].model}, Node ${process.version}, ${judge.backendReason}`;
await mkdir(dirname(values.out), { recursive: true });
await writeFile(values.out, `${JSON.stringify({ machine, before, runs, meanGain: gain, meanUnfilteredGain: controlGain }, null, "\t")}\n`);
log(`mean gain ${(100 * gain).toFixed(1)} points filtered, ${(100 * controlGain).toFixed(1)} unfiltered; written to ${values.out}`);
