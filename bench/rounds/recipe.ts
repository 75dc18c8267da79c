/** The demo's stages with the demo's settings (examples/demo.yaml), for a judge in a folder. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import {
	checkpointDigest,
	cotConfiguration,
	evaluate,
	filterRollouts,
	type GenerateCotOptions,
	generateCoT,
	inDevShare,
	type JudgedRollout,
	judgeRollout,
	loadDataset,
	loadModel,
	openJournal,
	type PreferenceRecord,
	type Rollout,
	type RolloutFilter,
	readPromptTemplate,
	Trainer,
	toConversation,
} from "../../src/index.js";

const demo = parse(await readFile(new URL("../../examples/demo.yaml", import.meta.url), "utf8")) as Record<string, number> & {
	adam_betas: [number, number];
};
export const JUDGE = fileURLToPath(new URL("../../examples/judge", import.meta.url));
export const SAMPLES = demo.samples_per_record;
export const CAP = demo.max_per_order;
/** Of the training pairs' captions: rounds are chosen by them. */
export const DEV_SHARE = 0.2;

const imageRoot = fileURLToPath(new URL("../../examples/data", import.meta.url));
const promptTemplate = await readPromptTemplate(join(JUDGE, "prompt.txt"));
const sampling = { batchSize: demo.batch_size, maxNewTokens: demo.max_new_tokens, promptTemplate };
const training = {
	...{ trainBatchSize: demo.train_batch_size, microTrainBatchSize: demo.micro_train_batch_size, maxEpochs: demo.max_epochs },
	...{ learningRate: demo.actor_learning_rate, betas: demo.adam_betas },
};

async function* pairs(name: string, limit: number | undefined, wanted: (record: PreferenceRecord) => boolean) {
	for await (const record of loadDataset(`hpdv3:${join(imageRoot, name)}`, { imageRoot, order: "both", limit }))
		if (wanted(record)) yield record;
}
export const trainPairs = (seed: number, limit?: number) => pairs("train.json", limit, (record) => !inDevShare(record, DEV_SHARE, seed));
export const devPairs = (seed: number, limit?: number) => pairs("train.json", limit, (record) => inDevShare(record, DEV_SHARE, seed));
export const heldOutPairs = (limit?: number) => pairs("heldout.json", limit, () => true);

/** Draws into a journal, so that what was drawn is there for the next round, and after an interruption. */
export async function* sample(
	judge: string,
	records: AsyncIterable<PreferenceRecord>,
	file: string,
	options: Pick<GenerateCotOptions, "samplesPerRecord" | "seed">,
): AsyncGenerator<Rollout> {
	await using model = await loadModel(judge);
	const drawing = { ...sampling, temperature: demo.temperature, ...options };
	const { model: weights, processor } = await checkpointDigest(judge);
	const configuration = cotConfiguration({ model: { files: weights }, processor: { files: processor } }, drawing);
	await using journal = await openJournal(file, { configuration });
	yield* generateCoT(records, model, { ...drawing, journal });
}

export async function keep(
	rollouts: AsyncIterable<Rollout> | Iterable<Rollout>,
	filters: readonly RolloutFilter[],
): Promise<JudgedRollout[]> {
	const kept: JudgedRollout[] = [];
	for await (const rollout of filterRollouts(rollouts, filters)) kept.push(rollout);
	return kept;
}

export async function fineTune(judge: string, kept: readonly JudgedRollout[], savePath: string, seed: number): Promise<{ steps: number }> {
	await using model = await loadModel(judge, { trainable: true });
	const conversations = kept.map((rollout) => toConversation(rollout, { imageRoot }));
	return await new Trainer(model, { ...training, dataRoot: imageRoot, seed, savePath }).fit(conversations);
}

export interface Score {
	accuracy: number;
	ci: readonly [number, number];
	saysImage1: number;
	parseRate: number;
	/** A digit per judgement: 1 is right. Two of a pair stand side by side, one for each shown order. */
	right: string;
}

/** Greedy. */
export async function score(judge: string, records: AsyncIterable<PreferenceRecord>): Promise<Score> {
	await using model = await loadModel(judge);
	const rollouts: Rollout[] = [];
	for await (const rollout of generateCoT(records, model, { ...sampling, temperature: 0 })) rollouts.push(rollout);
	const { accuracy, ci, saysImage1, parseRate } = await evaluate(rollouts);
	const right = rollouts.map((rollout) => Number(judgeRollout(rollout, { useCot: true }).outcome === "accepted")).join("");
	return { accuracy, ci, saysImage1, parseRate, right };
}
