/**
 * The main job, once: judge before → sample → filter → convert → fine-tune → judge after. The stages of the library composed, each
 * writing the file that `tfjs-rft run` writes too; nothing here but the composition and the settings that were measured to work.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
	type Evaluation,
	evaluate,
	formatStats,
	generateCoT,
	type JudgementStats,
	loadDataset,
	loadModel,
	readConversations,
	readJudgedRollouts,
	readPromptTemplate,
	rejectFiltered,
	type SelectionStats,
	selectPerRecord,
	Trainer,
	toConversation,
	writeConversations,
	writeJsonArray,
	writeJsonLines,
} from "../../src/index.js";
import { DEMO, DEMO_TRAINING } from "./settings.js";

export interface ImproveJudgeOptions {
	judge: string;
	trainData: string;
	heldOutData: string;
	imageRoot: string;
	outputPath: string;
	seed: number;
	/** Fewer pairs, for a quick look. Default: all. */
	limit?: number;
	/** `done` of `total` (where it is known) units of a stage; `note` is for the end of a progress bar. */
	onProgress: (stage: string, done: number, total: number | undefined, note: string) => void;
}

export interface Improvement {
	before: Evaluation;
	after: Evaluation;
	stats: JudgementStats;
	selection: SelectionStats;
	conversations: number;
	steps: number;
	files: Record<string, string>;
	backendReason: string;
}

export async function improveJudge(options: ImproveJudgeOptions): Promise<Improvement> {
	const { judge, trainData, heldOutData, imageRoot, outputPath, seed, limit, onProgress } = options;
	const files = {
		filtered: join(outputPath, "filtered_samples.json"),
		stats: join(outputPath, "filtered_samples_stats.txt"),
		rejected: join(outputPath, "rejected_samples.jsonl"),
		conversations: join(outputPath, "rejection_sampling_train.json"),
		checkpoint: join(outputPath, "checkpoint"),
		logs: join(outputPath, "logs"),
	};
	await mkdir(outputPath, { recursive: true });
	await using model = await loadModel(judge);
	const promptTemplate = await readPromptTemplate(join(judge, "prompt.txt"));
	const { samplesPerRecord, selection: selectionRule, ...sampling } = DEMO;
	const pairs = (source: string) => loadDataset(source, { imageRoot, order: "both", limit });

	const score = (stage: string) =>
		evaluate(
			generateCoT(pairs(heldOutData), model, {
				...{ ...sampling, promptTemplate, temperature: 0 },
				onProgress: ({ done, tokensPerSecond }) => onProgress(stage, done, undefined, `${tokensPerSecond.toFixed(0)} tokens/s`),
			}),
		);

	const before = await score("judge before");

	const rollouts = generateCoT(pairs(trainData), model, {
		...{ ...sampling, promptTemplate, samplesPerRecord, seed },
		onProgress: ({ done, tokensPerSecond }) => onProgress("sample", done, undefined, `${tokensPerSecond.toFixed(0)} tokens/s`),
	});
	let stats: JudgementStats | undefined;
	let selection: SelectionStats | undefined;
	await writeJsonLines(files.rejected, async (onRejected) => {
		const accepted = rejectFiltered(rollouts, { onRejected });
		const selected = selectPerRecord(accepted, selectionRule);
		await writeJsonArray(files.filtered, selected);
		({ stats } = accepted);
		selection = selected.stats;
	});
	if (!stats || !selection) throw new Error("sampling ended without statistics");
	await writeFile(files.stats, formatStats(stats));

	async function* conversations() {
		for await (const rollout of readJudgedRollouts(files.filtered)) yield toConversation(rollout, { imageRoot });
	}
	const written = await writeConversations(files.conversations, conversations());

	const trainer = new Trainer(model, {
		savePath: files.checkpoint,
		logDir: files.logs,
		dataRoot: imageRoot,
		...DEMO_TRAINING,
		seed,
		onEvent: (event) => {
			if (event.type === "step") onProgress("fine-tune", event.step, event.totalSteps, `loss ${event.loss.toFixed(3)}`);
		},
	});
	const { steps } = await trainer.fit(readConversations(files.conversations));
	const after = await score("judge after");
	return { before, after, stats, selection, conversations: written, steps, files, backendReason: model.backendReason };
}
