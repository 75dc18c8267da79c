/**
 * The loop of your own: rounds of sampling with the newest judge and training the first one anew, until the dev pairs gain no more.
 *
 *     npx tsx examples/07-rounds.ts [--limit 40] [--rounds 3] [--output_path out/07] [--judge examples/judge]
 *
 * Stop it and start it again: finished rounds are read, and the round under way goes on from its journal.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
	checkpointDigest,
	correct,
	cotConfiguration,
	evaluate,
	filterRollouts,
	generateCoT,
	inDevShare,
	loadDataset,
	loadModel,
	openJournal,
	type PreferenceRecord,
	planSamples,
	type RoundTask,
	readPromptTemplate,
	runRounds,
	swapConsistent,
	Trainer,
	type TrainingConversation,
	toConversation,
	wellFormed,
} from "../src/index.js";

const { values } = parseArgs({
	options: {
		limit: { type: "string", default: "40" },
		rounds: { type: "string", default: "3" },
		output_path: { type: "string", default: "out/07" },
		judge: { type: "string", default: "examples/judge" },
	},
});
const sampling = { batchSize: 64, maxNewTokens: 180, promptTemplate: await readPromptTemplate(join(values.judge, "prompt.txt")) };

/** A part of the captions is for choosing the best round, and not for training. */
async function* pairs(which: "train" | "dev"): AsyncGenerator<PreferenceRecord> {
	for await (const record of loadDataset("hpdv3:examples/data/train.json", { order: "both", limit: Number(values.limit) }))
		if (inDevShare(record, 0.25) === (which === "dev")) yield record;
}

async function accuracyOf(judge: string): Promise<{ accuracy: number }> {
	await using model = await loadModel(judge);
	const { accuracy } = await evaluate(generateCoT(pairs("dev"), model, { ...sampling, temperature: 0 }));
	return { accuracy };
}

const journalOf = ({ folder }: { folder: string }) => join(folder, "journal.jsonl");

/** Samples, asking more where the rounds before were right now and then; filters; @returns conversations */
async function sample(task: RoundTask): Promise<TrainingConversation[]> {
	await using model = await loadModel(task.sampleWith);
	const plan = await planSamples(task.earlier.slice(1).map(journalOf), { samplesPerRecord: 4 }); // round 0 has drawn nothing
	const drawing = { ...sampling, samplesPerRecord: plan.samplesOf, seed: task.round };
	const { model: weights, processor } = await checkpointDigest(task.sampleWith);
	const configuration = cotConfiguration({ model: { weights }, processor: { files: processor } }, drawing);
	await using journal = await openJournal(journalOf(task), { configuration });
	async function* judgements() {
		yield* generateCoT(pairs("train"), model, { ...drawing, journal });
		yield* plan.carried();
	}
	const conversations: TrainingConversation[] = [];
	for await (const kept of filterRollouts(judgements(), [wellFormed(), correct(), swapConsistent()]))
		conversations.push(toConversation(kept));
	return conversations;
}

async function playRound(task: RoundTask) {
	const conversations = await sample(task);
	const checkpoint = join(task.folder, "checkpoint");
	{
		await using model = await loadModel(task.trainFrom, { trainable: true });
		const training = { trainBatchSize: 16, microTrainBatchSize: 16, maxEpochs: 1, learningRate: 5e-4 };
		await new Trainer(model, { ...training, savePath: checkpoint }).fit(conversations);
	}
	return { checkpoint, ...(await accuracyOf(checkpoint)), facts: { conversations: conversations.length } };
}

const options = { folder: values.output_path, rounds: Number(values.rounds), evaluateFirst: accuracyOf };
for await (const { round, accuracy, isBest, facts } of runRounds(values.judge, playRound, options))
	console.log(`round ${round}: ${(100 * accuracy).toFixed(1)} % of the dev pairs${isBest ? ", the best so far" : ""}`, facts ?? "");
console.log(`the best judge: ${join(values.output_path, "best")}`);
