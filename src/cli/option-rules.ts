/** What options must be together: each rule is a schema's `.refine(...rule)`. */
import type { z } from "zod";
import { isAdapterFolder, type PairMapping } from "../index.js";
import type { modelFlags } from "./flag-groups.js";
import { hasMapped } from "./option-values.js";
import type { PreferenceChoice } from "./preference-flags.js";
import { isRemote } from "./remote-judge.js";

type Rule<T> = [holds: (options: T) => boolean, otherwise: { path: string[]; error: string }];

/** @param path the flag that the error is about */
const rule = <T>(holds: (options: T) => boolean, path: string, error: string): Rule<T> => [holds, { path: [path], error }];

/** Sources of pairs need a mapping. @param data @param mapping flags */
const mappingFor = <D extends string, M extends string>(data: D, mapping: M) =>
	rule(
		(o: { [K in D]?: readonly string[] } & { [K in M]?: string | PairMapping }) => o[mapping] !== undefined || !hasMapped(o[data]),
		mapping,
		"expected a file with a mapping, for the pairs: source",
	);

export const oneDtype = rule(
	(o: { bf16: boolean; dtype: string }) => !o.bf16 || o.dtype !== "float32",
	"bf16",
	"expected it or --dtype float32, not both",
);

/** What is set at the server, with where. */
export const isOurs = rule(
	(o: z.output<z.ZodObject<typeof modelFlags>> & { model_path: string }) =>
		!isRemote(o.model_path) ||
		(o.adapter === undefined &&
			o.backend === "auto" &&
			o.dtype === "auto" &&
			!o.bf16 &&
			!o.eager &&
			o.min_pixels === undefined &&
			o.max_pixels === undefined),
	"model_path",
	"expected no --adapter, --backend, --dtype, --bf16, --eager, --min_pixels or --max_pixels with a remote judge: the server decides (vLLM: --dtype, --mm-processor-kwargs)",
);

export const guidesItself = rule(
	(o: { model_path: string; constrain_answers: boolean; thinking_budget?: number }) =>
		!isRemote(o.model_path) || (!o.constrain_answers && o.thinking_budget === undefined),
	"model_path",
	"expected no --constrain_answers or --thinking_budget with a remote judge: a chat endpoint can't be made to say a token",
);

export const notBothQuestions = rule(
	(o: { prompt_template?: string; task_instruction?: string }) => o.prompt_template === undefined || o.task_instruction === undefined,
	"task_instruction",
	"expected --prompt_template or --task_instruction, not both",
);

export const budgetFits = rule(
	(o: { thinking_budget?: number; max_new_tokens: number }) => o.thinking_budget === undefined || o.thinking_budget < o.max_new_tokens,
	"thinking_budget",
	"expected less than --max_new_tokens: the answer needs some tokens",
);

export const budgetForReasoning = rule(
	(o: { thinking_budget?: number; use_cot: boolean }) => o.thinking_budget === undefined || o.use_cot,
	"thinking_budget",
	"expected none with --no-use_cot: there is no reasoning to close",
);

export const patternsInOrder = rule(
	(o: { repetition_min_pattern_size: number; repetition_max_pattern_size: number }) =>
		o.repetition_min_pattern_size <= o.repetition_max_pattern_size,
	"repetition_min_pattern_size",
	"expected it not to be above --repetition_max_pattern_size",
);

export const bothOrdersShown = rule(
	(o: { both_orders_rule: boolean; orders: string }) => !o.both_orders_rule || o.orders === "both",
	"both_orders_rule",
	"expected --orders both with it: a pair must be shown both ways",
);

export const oneOrderOfBoth = rule(
	(o: { both_orders_rule: boolean; max_one_order?: number }) => o.max_one_order === undefined || o.both_orders_rule,
	"max_one_order",
	"expected --both_orders_rule with it: it is what that rule leaves of a pair that falls short",
);

export const samplesDiffer = rule(
	(o: { samples_per_record: number; temperature: number }) => o.samples_per_record === 1 || o.temperature > 0,
	"samples_per_record",
	"expected 1 with --temperature 0: all would be equal",
);

export const passRatesInOrder = rule(
	({ min_pass_rate = 0, max_pass_rate = 1 }: { min_pass_rate?: number; max_pass_rate?: number }) => min_pass_rate <= max_pass_rate,
	"min_pass_rate",
	"expected it not to be above --max_pass_rate",
);

export const rootForRelative = rule(
	(o: { relative_paths: boolean; image_root?: string }) => !o.relative_paths || o.image_root !== undefined,
	"relative_paths",
	"expected --image_root with it: the folder to be relative to",
);

export const mappingGiven = mappingFor("data_path", "data_mapping");

export const decontaminates = mappingFor("decontaminate", "decontaminate_mapping");

export const oneAdapter = rule(
	(o: { adapter?: string; lora_rank: number }) => o.adapter === undefined || o.lora_rank === 0,
	"lora_rank",
	"expected 0 with --adapter, which is trained further as it is",
);

export const scaledAdapter = rule(
	(o: { lora_rank: number; lora_alpha: number }) => o.lora_rank === 0 || o.lora_alpha > 0,
	"lora_alpha",
	"expected a number above 0 with --lora_rank",
);

export const plansWhole = rule(
	(o: { dry_run: boolean; adapter?: string; lora_rank: number; pretrain: string }) =>
		!o.dry_run || (o.lora_rank === 0 && o.adapter === undefined && !isAdapterFolder(o.pretrain)),
	"dry_run",
	"expected no adapter with it: the plan is that of training the model itself",
);

/** @param usual what the flag is where it is not given */
export const withPairs = <N extends "pref_beta" | "pref_loss" | "pref_ftx" | "dpo_label_smoothing">(name: N, usual: PreferenceChoice[N]) =>
	rule(
		(o: PreferenceChoice) => o.stage === "dpo" || o[name] === usual,
		name,
		"expected --stage dpo with it: conversations have no rejected answers",
	);

export const pairsAlone = rule(
	(o: { stage: string; packing: boolean }) => o.stage !== "dpo" || !o.packing,
	"packing",
	"expected none with --stage dpo: an answer's log-probability is that of a row of its own; --group_by_length saves padding, too",
);

export const pairsWithoutNoise = rule(
	(o: { stage: string; neftune_noise_alpha: number }) => o.stage !== "dpo" || o.neftune_noise_alpha === 0,
	"neftune_noise_alpha",
	"expected 0 with --stage dpo: with noise the model would differ from its own reference before it has learned anything",
);

export const pairsUnsmoothed = rule(
	(o: { stage: string; label_smoothing_factor: number }) => o.stage !== "dpo" || o.label_smoothing_factor === 0,
	"label_smoothing_factor",
	"expected 0 with --stage dpo: it is about labels of tokens; --dpo_label_smoothing is about those of pairs",
);

export const metricMeasured = rule(
	(o: { metric_for_best_model?: string; eval_dataset?: readonly string[]; eval_data_path?: readonly string[] }) => {
		if (o.metric_for_best_model === undefined) return true;
		return (o.metric_for_best_model === "loss" ? o.eval_dataset : o.eval_data_path) !== undefined;
	},
	"metric_for_best_model",
	"expected --eval_dataset with it for the loss, --eval_data_path for others: nothing else measures them",
);

export const metricOfPairs = rule(
	(o: { metric_for_best_model?: string }) => o.metric_for_best_model !== "loss",
	"metric_for_best_model",
	"expected accuracy, parseRate or saysImage1: `run` judges pairs while it trains; for the loss of held-out conversations use `train --eval_dataset`",
);

export const evalMappingGiven = mappingFor("eval_data_path", "eval_data_mapping");

export const rankInWorkers = rule(
	(o: { workers?: readonly string[]; rank?: number }) =>
		o.workers === undefined ? o.rank === undefined : o.rank !== undefined && o.rank < o.workers.length,
	"rank",
	"expected a place in --workers, from 0, with --workers and only then",
);

export const oneKindOfWorkers = rule(
	(o: { workers?: readonly string[]; processes: number }) => o.workers === undefined || o.processes === 1,
	"processes",
	"expected it or --workers, not both: name each process in --workers",
);

export const oursInProcesses = rule(
	(o: { model_path: string; workers?: readonly string[]; processes: number }) =>
		!isRemote(o.model_path) || (o.workers === undefined && o.processes === 1),
	"processes",
	"expected one with a remote judge: its endpoints are asked at once by one process (openai:MODEL@URL,URL…)",
);

type ZeroOptions = { zero_stage?: string; engine: string };
const shards = ({ zero_stage, engine }: ZeroOptions) => engine === "ours" && (zero_stage === "1" || zero_stage === "2");

export const zeroHasProcesses = rule(
	(o: ZeroOptions & { workers?: readonly string[]; processes: number }) => !shards(o) || o.processes > 1 || o.workers !== undefined,
	"zero_stage",
	"expected --processes or --workers with it: one process has nobody to share with",
);

export const zeroHasMoments = rule(
	(o: ZeroOptions & { optim: string }) => !shards(o) || o.optim === "adamw",
	"zero_stage",
	"expected none with --optim adafactor, whose state is a row and a column of each matrix: nothing to share out",
);

export const zeroInGraphs = rule(
	(o: ZeroOptions & { eager: boolean }) => !shards(o) || !o.eager,
	"zero_stage",
	"expected none with --eager: exchanges are parts of graphs",
);

export const roundsHaveDevPairs = rule(
	(o: { rounds: number; dev_share: number }) => o.rounds === 1 || o.dev_share > 0,
	"dev_share",
	"expected more than 0 with --rounds: the best round is chosen by these pairs",
);

export const roundsHaveJournals = rule(
	(o: { rounds: number; journal?: string }) => o.rounds === 1 || o.journal === undefined,
	"journal",
	"expected none with --rounds: each round has its own, in its folder",
);

export const mostSamplesFit = rule(
	(o: { samples_per_record: number; max_samples_per_record?: number }) =>
		o.max_samples_per_record === undefined || o.max_samples_per_record >= o.samples_per_record,
	"max_samples_per_record",
	"expected it not to be below --samples_per_record",
);

export const oneBaseInRounds = rule(
	(o: { adapter?: string; rounds: number }) => o.adapter === undefined || o.rounds === 1,
	"adapter",
	"expected none with --rounds, which begin with a model: merge-adapter makes one, or name the adapter as --model_path",
);
