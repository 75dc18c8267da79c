/** The options of every command: flags, and what they must be together. Config files have the same names as keys. */
import { z } from "zod";
import { engineFlags } from "./engines/engine-flags.js";
import { choice, flag, text, toggle, whole } from "./flag.js";
import {
	batchSize,
	dataFlags,
	exportFlags,
	filterFlags,
	guidingFlags,
	heldOutFlags,
	journalFlags,
	type loraFlags,
	maxNewTokens,
	modelFlags,
	ORDERS,
	overwrite,
	questionFlags,
	relativePaths,
	reportFlags,
	roundFlags,
	samplingFlags,
	seed,
	trainingFlags,
	workerFlags,
} from "./flag-groups.js";
import {
	bothOrdersShown,
	budgetFits,
	budgetForReasoning,
	decontaminates,
	evalMappingGiven,
	guidesItself,
	isOurs,
	mappingGiven,
	metricMeasured,
	metricOfPairs,
	mostSamplesFit,
	notBothQuestions,
	oneAdapter,
	oneBaseInRounds,
	oneDtype,
	oneKindOfWorkers,
	oneOrderOfBoth,
	oursInProcesses,
	pairsAlone,
	pairsUnsmoothed,
	pairsWithoutNoise,
	passRatesInOrder,
	patternsInOrder,
	plansWhole,
	rankInWorkers,
	rootForRelative,
	roundsHaveDevPairs,
	roundsHaveJournals,
	samplesDiffer,
	scaledAdapter,
	withPairs,
	zeroHasMoments,
	zeroHasProcesses,
	zeroInGraphs,
} from "./option-rules.js";
import { adapterFolder, checkpointFolder, conversationFiles, judge } from "./option-values.js";
import { preferenceFlags } from "./preference-flags.js";
import { rayFlags } from "./ray/ray-flags.js";

export const sampleOptions = z
	.strictObject({
		model_path: flag(judge(), "the judge: a checkpoint's folder, or openai:MODEL@URL[,URL…]", "DIR"),
		...dataFlags,
		output_path: flag(text(), "a folder, or the path of filtered_samples.json", "PATH"),
		batch_size: batchSize,
		max_new_tokens: maxNewTokens,
		...questionFlags,
		...samplingFlags,
		...filterFlags,
		...exportFlags,
		relative_paths: relativePaths,
		seed,
		...modelFlags,
		...journalFlags,
		...rayFlags,
		log_dir: flag(text().optional(), "receives counts of rows and judgements: TensorBoard events, W&B history; default: none", "DIR"),
		overwrite,
	})
	.refine(...oneDtype)
	.refine(...isOurs)
	.refine(...guidesItself)
	.refine(...notBothQuestions)
	.refine(...budgetFits)
	.refine(...budgetForReasoning)
	.refine(...patternsInOrder)
	.refine(...bothOrdersShown)
	.refine(...oneOrderOfBoth)
	.refine(...samplesDiffer)
	.refine(...passRatesInOrder)
	.refine(...rootForRelative)
	.refine(...mappingGiven)
	.refine(...decontaminates);

export const convertOptions = z
	.strictObject({
		filtered_samples_path: flag(text(), "filtered_samples.json, as `sample` writes it", "FILE"),
		output_path: flag(text(), "the ShareGPT file to write", "FILE"),
		data_root: flag(text().optional(), "folder that relative image paths are relative to", "DIR"),
		relative_paths: relativePaths,
		bare_images: flag(toggle().default(false), "no <image> placeholders and no image numbers in the text"),
		overwrite,
	})
	.refine((o) => !o.relative_paths || o.data_root !== undefined, {
		path: ["relative_paths"],
		error: "expected --data_root with it: the folder to be relative to",
	});

export const trainOptions = z
	.strictObject({
		pretrain: flag(checkpointFolder(), "the model to fine-tune", "DIR"),
		save_path: flag(text(), "receives the fine-tuned model and checkpoint-<step> folders", "DIR"),
		train_data: flag(
			conversationFiles(),
			'ShareGPT rows, "imagegen-cot-reward-5k:path.json" or "path.json"; with --stage dpo: pairs',
			"SOURCE",
			"repeat",
		),
		...preferenceFlags,
		data_root: flag(text().optional(), "folder of the rows' images; default: paths as they are", "DIR"),
		dry_run: flag(
			toggle().default(false),
			"print what the training will take (memory, steps, time, and what to change where it doesn't fit), and end; a config.json is enough",
		),
		...trainingFlags,
		...engineFlags,
		...workerFlags,
		log_dir: flag(text().optional(), "receives metrics, TensorBoard events and W&B history (also --use_tensorboard); default: none", "DIR"),
		resume_from_checkpoint: flag(
			text().optional(),
			"a checkpoint-<step> folder to go on from, or a folder of some: the newest that is whole; auto: save_path's, if there is one",
			"DIR",
		),
		...heldOutFlags,
		eval_dataset: flag(
			conversationFiles().optional(),
			"held-out conversations, in the form of --train_data: their loss is a score of each evaluation",
			"SOURCE",
			"repeat",
		),
		eval_batch_size: flag(whole().default(32), "judgements generated together in evaluations", "N"),
		generate_max_len: flag(whole().default(1024), "most tokens of a judgement in evaluations", "N"),
		use_cot: questionFlags.use_cot,
		prompt_template: questionFlags.prompt_template,
		seed,
		...modelFlags,
		overwrite,
	})
	.refine(...oneDtype)
	.refine(...oneAdapter)
	.refine(...scaledAdapter)
	.refine(...plansWhole)
	.refine(...withPairs("pref_beta", 0.1))
	.refine(...withPairs("pref_loss", "sigmoid"))
	.refine(...withPairs("pref_ftx", 0))
	.refine(...withPairs("dpo_label_smoothing", 0))
	.refine(...pairsAlone)
	.refine(...pairsWithoutNoise)
	.refine(...pairsUnsmoothed)
	.refine(...evalMappingGiven)
	.refine(...metricMeasured)
	.refine(...rankInWorkers)
	.refine(...oneKindOfWorkers)
	.refine(...zeroHasProcesses)
	.refine(...zeroHasMoments)
	.refine(...zeroInGraphs);

export const evaluateOptions = z
	.strictObject({
		model_path: flag(judge(), "the judge: a checkpoint's folder, or openai:MODEL@URL[,URL…]", "DIR"),
		...dataFlags,
		...guidingFlags,
		orders: flag(choice(...ORDERS).default("both"), "how a pair is shown: stored, random or both ways", "HOW"),
		batch_size: batchSize,
		max_new_tokens: maxNewTokens,
		...questionFlags,
		seed,
		...modelFlags,
		...workerFlags,
		json: flag(toggle().default(false), "print JSON"),
	})
	.refine(...oneDtype)
	.refine(...isOurs)
	.refine(...guidesItself)
	.refine(...notBothQuestions)
	.refine(...budgetFits)
	.refine(...budgetForReasoning)
	.refine(...patternsInOrder)
	.refine(...mappingGiven)
	.refine(...rankInWorkers)
	.refine(...oneKindOfWorkers)
	.refine(...oursInProcesses);

export const runOptions = z
	.strictObject({
		model_path: flag(checkpointFolder(), "the judge", "DIR"),
		...dataFlags,
		output_path: flag(text(), "folder that receives everything", "DIR"),
		batch_size: batchSize,
		max_new_tokens: maxNewTokens,
		...questionFlags,
		...samplingFlags,
		...filterFlags,
		...exportFlags,
		relative_paths: relativePaths,
		...trainingFlags,
		...heldOutFlags,
		...roundFlags,
		...reportFlags,
		seed,
		...modelFlags,
		...journalFlags,
		overwrite,
	})
	.refine(...roundsHaveDevPairs)
	.refine(...roundsHaveJournals)
	.refine(...mostSamplesFit)
	.refine(...oneDtype)
	.refine(...oneBaseInRounds)
	.refine(...oneAdapter)
	.refine(...scaledAdapter)
	.refine(...notBothQuestions)
	.refine(...budgetFits)
	.refine(...budgetForReasoning)
	.refine(...patternsInOrder)
	.refine(...bothOrdersShown)
	.refine(...oneOrderOfBoth)
	.refine(...samplesDiffer)
	.refine(...passRatesInOrder)
	.refine(...rootForRelative)
	.refine(...mappingGiven)
	.refine(...evalMappingGiven)
	.refine(...metricOfPairs)
	.refine(...decontaminates);

const journalPath = flag(text(), "journal.jsonl, as `sample` and `run` write it", "JOURNAL");

const rolloutFiles = flag(
	z.array(text()),
	"journal.jsonl, or filtered_samples.json with rejected_samples.jsonl, as `sample` and `run` write them",
	"ROLLOUTS",
	"repeat",
);

export const reportOptions = z.strictObject({
	rollouts: rolloutFiles,
	output_path: flag(text(), "the HTML file to write", "FILE"),
	...reportFlags,
	overwrite,
});

export const filterOptions = z
	.strictObject({
		rollouts: rolloutFiles,
		output_path: flag(text(), "a folder, or the path of filtered_samples.json", "PATH"),
		...filterFlags,
		...exportFlags,
		image_root: flag(text().optional(), "folder that --relative_paths are relative to", "DIR"),
		relative_paths: relativePaths,
		...reportFlags,
		overwrite,
	})
	.refine(...oneOrderOfBoth)
	.refine(...passRatesInOrder)
	.refine(...rootForRelative)
	.refine(...decontaminates);

export const inspectOptions = z.strictObject({ journal: journalPath, json: flag(toggle().default(false), "print JSON") });

export const compactOptions = z.strictObject({ journal: journalPath });

export const mergeOptions = z.strictObject({
	output: flag(text(), "the journal to write", "OUT"),
	journals: flag(z.array(text()), "journals of one configuration", "IN", "repeat"),
});

export const mergeAdapterOptions = z.strictObject({
	adapter: flag(adapterFolder(), "the adapter", "DIR"),
	pretrain: flag(checkpointFolder().optional(), "its base; default: the folder that the adapter names", "DIR"),
	save_path: flag(text(), "receives the merged checkpoint", "DIR"),
	backend: modelFlags.backend,
	overwrite,
});

export const setupOptions = z.strictObject({
	device: flag(choice("auto", "cpu", "cuda").default("auto"), "auto: cuda where there is an NVIDIA driver", "NAME"),
	wheel: flag(text().optional(), "a TensorFlow wheel on this machine, instead of a download", "FILE"),
});

export const doctorOptions = z.strictObject({ json: flag(toggle().default(false), "print JSON") });

export type SampleOptions = z.output<typeof sampleOptions>;
/** What `sample` and `run` share: how judgements are drawn, and where they are kept. */
export type DrawOptions = Omit<SampleOptions, "output_path" | "log_dir" | keyof typeof rayFlags>;
export type ConvertOptions = z.output<typeof convertOptions>;
export type TrainOptions = z.output<typeof trainOptions>;
export type ReportOptions = z.output<typeof reportOptions>;
export type RunOptions = z.output<typeof runOptions>;
export type EvaluateOptions = z.output<typeof evaluateOptions>;
/** Where the judge's question comes from. */
export type QuestionOptions = Partial<Pick<SampleOptions, "prompt_template" | "task_instruction">>;
export type FilterOptions = Pick<SampleOptions, keyof typeof filterFlags | "thinking_budget">;
export type ExportOptions = Pick<SampleOptions, keyof typeof exportFlags | "relative_paths" | "image_root">;
export type GuidingOptions = Pick<SampleOptions, keyof typeof guidingFlags>;
export type ModelOptions = Pick<SampleOptions, keyof typeof modelFlags>;
export type DataOptions = Pick<SampleOptions, keyof typeof dataFlags | "orders" | "seed">;
export type HeldOutOptions = Pick<TrainOptions, keyof typeof heldOutFlags | "seed">;
export type LoraFlags = Pick<TrainOptions, keyof typeof loraFlags>;
export type TrainingFlags = Pick<TrainOptions, keyof typeof trainingFlags | "seed" | "eager"> & { rank?: number };
