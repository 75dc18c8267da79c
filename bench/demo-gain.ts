/**
 * How much the demo's judge gains, over seeds, and against a control: the same number of steps on as many unfiltered judgements.
 *
 *     npx tsx bench/demo-gain.ts [--seeds 0,1,2] [--limit PAIRS] [--judge examples/judge] [--out bench/results/demo-gain.json]
 *
 * Per seed the rollouts are sampled once; the filtered set is what the demo keeps of them, the control a random draw of equally many
 * parsed judgements, right or wrong. Both fine-tune a fresh copy of the judge with the demo's settings.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import {
	cap,
	correct,
	evaluate,
	filterRollouts,
	generateCoT,
	type JudgedRollout,
	judgeRollout,
	loadDataset,
	loadModel,
	type Rollout,
	readPromptTemplate,
	scoresAgree,
	swapConsistent,
	Trainer,
	toConversation,
	wellFormed,
} from "../src/index.js";

const { values } = parseArgs({
	options: {
		seeds: { type: "string", default: "0,1,2" },
		limit: { type: "string" },
		judge: { type: "string", default: fileURLToPath(new URL("../examples/judge", import.meta.url)) },
		out: { type: "string", default: fileURLToPath(new URL("results/demo-gain.json", import.meta.url)) },
	},
});
const demo = parse(await readFile(new URL("../examples/demo.yaml", import.meta.url), "utf8")) as Record<string, number> & {
	adam_betas: [number, number];
};
const sampling = { batchSize: demo.batch_size, maxNewTokens: demo.max_new_tokens };
const { samples_per_record: samplesPerRecord, temperature } = demo;
/** The filters that the demo's flags ask for, in the order in which `run` asks them. */
const filters = [
	wellFormed(),
	correct(),
	scoresAgree(),
	swapConsistent({ oneOrder: demo.max_one_order }),
	cap(demo.max_per_order, { per: "order" }),
];
const training = {
	...{ trainBatchSize: demo.train_batch_size, microTrainBatchSize: demo.micro_train_batch_size, maxEpochs: demo.max_epochs },
	...{ learningRate: demo.actor_learning_rate, betas: demo.adam_betas },
};
const imageRoot = fileURLToPath(new URL("../examples/data", import.meta.url));
const limit = values.limit === undefined ? undefined : Number(values.limit);
const promptTemplate = await readPromptTemplate(join(values.judge, "prompt.txt"));
const pairs = (name: string) => loadDataset(`hpdv3:${join(imageRoot, name)}`, { imageRoot, order: "both", limit });
const log = (line: string) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);

/** Held-out accuracy, in all and by what is wrong with the worse picture. */
async function score(model: Awaited<ReturnType<typeof loadModel>>) {
	const rollouts: Rollout[] = [];
	for await (const rollout of generateCoT(pairs("heldout.json"), model, { ...sampling, promptTemplate, temperature: 0 }))
		rollouts.push(rollout);
	const { accuracy, ci, parseRate, saysImage1, n } = await evaluate(rollouts);
	const byDefect: Record<string, { right: number; of: number }> = {};
	for (const rollout of rollouts) {
		const defect = rollout.record.model2 ?? "unknown";
		const { right, of } = byDefect[defect] ?? { right: 0, of: 0 };
		const isRight = judgeRollout(rollout, { useCot: true }).outcome === "accepted";
		byDefect[defect] = { right: right + Number(isRight), of: of + 1 };
	}
	return { accuracy, ci, parseRate, saysImage1, n, byDefect };
}

async function sample(seed: number): Promise<JudgedRollout[]> {
	await using model = await loadModel(values.judge);
	const judged: JudgedRollout[] = [];
	const rollouts = generateCoT(pairs("train.json"), model, { ...sampling, samplesPerRecord, temperature, promptTemplate, seed });
	for await (const rollout of rollouts) judged.push(judgeRollout(rollout, { useCot: true }));
	return judged;
}

async function fineTune(rollouts: JudgedRollout[], seed: number) {
	await using model = await loadModel(values.judge, { trainable: true });
	const { steps } = await new Trainer(model, { ...training, dataRoot: imageRoot, seed }).fit(
		rollouts.map((rollout) => toConversation(rollout, { imageRoot })),
	);
	return { conversations: rollouts.length, steps, ...(await score(model)) };
}

await using judge = await loadModel(values.judge);
log(judge.backendReason);
const before = await score(judge);
log(`before: ${JSON.stringify(before)}`);
const runs = [];
for (const seed of values.seeds.split(",").map(Number)) {
	const judged = await sample(seed);
	const kept: JudgedRollout[] = [];
	const right = judged.filter((r) => r.outcome === "accepted").length;
	for await (const rollout of filterRollouts(judged, filters)) kept.push(rollout);
	log(`seed ${seed}: ${judged.length} sampled, ${right} right, ${kept.length} kept`);
	const filtered = await fineTune(kept, seed);
	log(`seed ${seed}: filtered ${JSON.stringify(filtered)}`);
	// A rollout's seed is a hash of what it is: sorting by it is a random draw that anyone can repeat.
	const drawn = judged.filter((r) => r.answer).sort((a, b) => a.seed - b.seed);
	const unfiltered = await fineTune(drawn.slice(0, kept.length), seed);
	log(`seed ${seed}: unfiltered ${JSON.stringify(unfiltered)}`);
	runs.push({ seed, sampled: judged.length, right, kept: kept.length, filtered, unfiltered });
}
const mean = (xs: number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;
const gain = mean(runs.map((r) => r.filtered.accuracy - before.accuracy));
const controlGain = mean(runs.map((r) => r.unfiltered.accuracy - before.accuracy));
const machine = `${os.cpus().length} × ${os.cpus()[0].model}, Node ${process.version}, ${judge.backendReason}`;
await mkdir(dirname(values.out), { recursive: true });
await writeFile(values.out, `${JSON.stringify({ machine, before, runs, meanGain: gain, meanUnfilteredGain: controlGain }, null, "\t")}\n`);
log(`mean gain ${(100 * gain).toFixed(1)} points filtered, ${(100 * controlGain).toFixed(1)} unfiltered; written to ${values.out}`);
