/**
 * Every flag of every command, and the one place where they are parsed. Names are LightRFT's where LightRFT has the flag; config files
 * have the same names as keys. What is given on the command line goes before the config file.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
	checkPairMapping,
	EXPORT_FORMATS,
	EXPORT_KINDS,
	EXPORT_LAYOUTS,
	isAdapterFolder,
	LR_SCHEDULERS,
	OPTIMIZERS,
	type PairMapping,
	parseSources,
	type ShardName,
} from "../index.js";
import { engineFlags } from "./engines/engine-flags.js";
import { choice, flag, flagInfo, interval, positive, real, text, toggle, whole } from "./flag.js";
import { normaliseKey } from "./normalise-flags.js";
import { rayFlags } from "./ray/ray-flags.js";
import { isRemote, parseRemoteJudge } from "./remote-judge.js";
import { UsageError } from "./usage-error.js";

/** Other names that flags go by. */
export const ALIASES: Readonly<Record<string, string>> = {
	use_tensorboard: "log_dir",
	weight_decay: "l2",
	learning_rate: "actor_learning_rate",
	warmup_ratio: "lr_warmup_ratio",
	warmup_steps: "lr_warmup_steps",
	lr_scheduler_type: "lr_scheduler",
	optimizer: "optim",
	packing_samples: "packing",
	save_total_limit: "max_ckpt_num",
	lora_target_modules: "target_modules",
	lora_r: "lora_rank",
};

const isCheckpoint = (dir: string) => existsSync(join(dir, "config.json")) || isAdapterFolder(dir);
const NO_CHECKPOINT =
	"expected the folder of a Hugging Face checkpoint, with a config.json (download it first; hub names are not resolved)";
const REMOTE_HAS_NO_WEIGHTS =
	"expected the folder of a checkpoint to train: a remote judge's weights are elsewhere; `sample` with it, `convert`, and `train --pretrain DIR`";

/** A checkpoint to train. */
const checkpointFolder = () =>
	text("the folder of a checkpoint").superRefine((dir, context) => {
		const message = isRemote(dir) ? REMOTE_HAS_NO_WEIGHTS : NO_CHECKPOINT;
		if (isRemote(dir) || !isCheckpoint(dir)) context.addIssue({ code: "custom", message });
	});

const adapterFolder = () =>
	text("the folder of a PEFT adapter").refine((dir) => existsSync(join(dir, "adapter_config.json")), {
		error: "expected the folder of a PEFT adapter, with an adapter_config.json",
	});

/** A judge to ask: a checkpoint, or a remote one. */
const judge = () =>
	text("the folder of a checkpoint, or openai:MODEL@URL").superRefine((name, context) => {
		if (!isRemote(name)) {
			if (!isCheckpoint(name)) context.addIssue({ code: "custom", message: `${NO_CHECKPOINT}, or openai:MODEL@URL[,URL…]` });
			return;
		}
		try {
			parseRemoteJudge(name);
		} catch (error) {
			context.addIssue({ code: "custom", message: (error as Error).message });
		}
	});

/** `a:x,b:y` and repeated flags, as one list. */
const splitSources = (value: unknown) =>
	(Array.isArray(value) ? value : [value]).flatMap((v) => (typeof v === "string" ? v.split(/,(?=[\w-]+:)/) : [v]));

const datasetSources = () =>
	z.preprocess(
		(value) => (value === undefined ? value : splitSources(value)),
		z.array(text()).superRefine((sources, context) => {
			try {
				parseSources(sources);
			} catch (error) {
				context.addIssue({ code: "custom", message: (error as Error).message });
			}
		}),
	);

const hasMapped = (sources?: readonly string[]) => sources?.some((source) => source.startsWith("pairs:")) ?? false;

/** A file with a mapping, or in a config file the mapping itself. */
const pairMapping = () =>
	z
		.union([text(), z.record(z.string(), z.unknown())], { error: "expected a file, or in a config file a mapping" })
		.transform((given, context) => {
			if (typeof given === "string") return given;
			try {
				return checkPairMapping(given);
			} catch (error) {
				context.addIssue({ code: "custom", message: (error as Error).message });
				return z.NEVER;
			}
		});

/** One text with commas, or a list. */
const workerAddresses = () =>
	z.preprocess(
		(value) => (typeof value === "string" ? value.split(",").map((address) => address.trim()) : value),
		z.array(text("host:port, such as 10.0.0.1:4400, with commas between")).min(1),
	);

const shardName = () =>
	z.custom<ShardName>(
		(value) => {
			const [, index, count] = /^(\d{1,9})\/(\d{1,9})$/.exec(String(value)) ?? [];
			return Number(index) >= 1 && Number(index) <= Number(count);
		},
		{ error: "expected i/n with i from 1 to n, such as 1/4 to 4/4" },
	);

/** `imagegen-cot-reward-5k:path.json` or the path alone: every source name of LightRFT's means the same ShareGPT rows. */
const conversationFiles = () =>
	z.preprocess(
		(value) => (value === undefined ? value : splitSources(value).map((v) => (typeof v === "string" ? v.replace(/^[\w-]{2,}:/, "") : v))),
		z.array(text('ShareGPT files, as "imagegen-cot-reward-5k:path.json" or "path.json"')),
	);

/** Also by the names that transformers has for the same. */
const OPTIMIZER_ALIASES: Readonly<Record<string, string>> = { adamw_torch: "adamw", adamw_torch_fused: "adamw", adamw_hf: "adamw" };
const SCHEDULER_ALIASES: Readonly<Record<string, string>> = { wsd: "warmup_stable_decay", constant_with_warmup: "constant" };
const orAlias = <T extends z.ZodType>(aliases: Readonly<Record<string, string>>, schema: T) =>
	z.preprocess((value) => (typeof value === "string" && Object.hasOwn(aliases, value) ? aliases[value] : value), schema);

/** One word or several. */
const words = (expected: string) =>
	z.preprocess((value) => (typeof value === "string" ? [value] : value), z.array(text(expected), { error: `expected ${expected}` }));

const betas = () =>
	z.preprocess(
		(value) => (Array.isArray(value) ? value : String(value).split(",")),
		z.tuple([real(0, 1), real(0, 1)], { error: "expected two numbers" }),
	);

const modelFlags = {
	backend: flag(
		choice("auto", "native-gpu", "native-cpu", "wasm", "cpu").default("auto"),
		"what computes; one that is named is never replaced",
		"NAME",
	),
	dtype: flag(
		choice("auto", "float32", "bfloat16", "int8").default("auto"),
		"what matrices are kept and multiplied in; auto: bfloat16 where the checkpoint is stored in it and the processor or GPU has it; int8: of the language model, to sample fastest",
		"NAME",
	),
	bf16: flag(toggle().default(false), "the same as --dtype bfloat16"),
	adapter: flag(adapterFolder().optional(), "a PEFT LoRA adapter on the model: to ask it so, or to train it further", "DIR"),
	min_pixels: flag(whole().optional(), "least area of an image after resizing; default: the checkpoint's", "N"),
	max_pixels: flag(whole().optional(), "most area of an image after resizing; default: the checkpoint's", "N"),
	eager: flag(toggle().default(false), "run op by op, not as compiled graphs: slower, for comparison"),
};

const dataFlags = {
	data_path: flag(
		datasetSources(),
		'preference pairs, "hpdv3:path.json": a file, a folder or a pattern; "@0.7" after it: mixed with the others by weight; repeat it or separate by commas',
		"SOURCE",
		"repeat",
	),
	data_mapping: flag(
		pairMapping().optional(),
		"for pairs: sources, where in a row its caption, images and preference are (YAML or JSON)",
		"FILE",
	),
	image_root: flag(text().optional(), "folder that image paths are relative to; default: each data file's own", "DIR"),
	image_cache: flag(text().optional(), "folder for images that data files hold themselves; default: images in the user's cache", "DIR"),
	shard: flag(shardName().optional(), "i/n, from 1/n to n/n: that part of the pairs, by their content; for n machines", "I/N"),
	limit: flag(whole().optional(), "at most so many pairs; default: all", "N"),
	shuffle_buffer: flag(whole(0).default(0), "pairs held to shuffle the stream; 0 keeps the file's order", "N"),
	max_bad_rows: flag(whole(0).default(0), "bad rows that may be left out; with more the command fails", "N"),
	check_images: flag(
		choice("exists", "header", "decode").default("header"),
		"how closely images are looked at before anything is drawn; decode finds those that are cut off, and takes its time",
		"HOW",
	),
	keep_duplicates: flag(
		toggle().default(false),
		"take a pair once for each row that it stands in; default: rows after its first are bad rows",
	),
	max_caption_chars: flag(whole().optional(), "a longer caption makes a bad row; default: 100000", "N"),
};

const ORDERS = ["stored", "random", "both"] as const;
const seed = flag(whole(Number.MIN_SAFE_INTEGER).default(42), "of shuffling, random orders and sampling", "N");
const batchSize = flag(whole().default(32), "judgements generated together", "N");
const maxNewTokens = flag(whole().default(2048), "most tokens of a judgement", "N");

const questionFlags = {
	use_cot: flag(toggle().default(true), "expect reasoning before the answer; --no-use_cot: the answer alone"),
	prompt_template: flag(
		text().optional(),
		"text file with {prompt} for the caption; default: prompt.txt of the checkpoint, else the built-in question",
		"FILE",
	),
	task_instruction: flag(text().optional(), "the same as text", "TEXT"),
};

/** What a judgement may be. Names as vLLM has them, where it has them. */
const guidingFlags = {
	score: flag(toggle().default(false), "give each judgement the probabilities of both answers, and report how well they are calibrated"),
	constrain_answers: flag(toggle().default(false), 'let nothing come after <answer> but "Image 1 is better" or "Image 2 is better"'),
	thinking_budget: flag(
		whole().optional(),
		"tokens after which a judgement is made to close its reasoning and to answer; default: none but --max_new_tokens",
		"N",
	),
	repetition_min_count: flag(
		whole(2).optional(),
		"end a judgement that says the same so many times in a row; default: it goes on to --max_new_tokens",
		"N",
	),
	repetition_max_pattern_size: flag(whole().default(64), "most tokens of what is said again and again", "N"),
	repetition_min_pattern_size: flag(whole().default(1), "fewest tokens of it", "N"),
};

const samplingFlags = {
	samples_per_record: flag(whole().default(1), "judgements per pair and shown order", "N"),
	temperature: flag(real(0).default(1), "0 is greedy", "X"),
	top_p: flag(positive(1).optional(), "keep the likeliest tokens up to this probability; default: all", "X"),
	top_k: flag(whole(0).optional(), "keep the k likeliest tokens; 0, the default: all", "N"),
	min_p: flag(real(0, 1).optional(), "keep tokens at least so likely as this share of the likeliest; default: all", "X"),
	repetition_penalty: flag(positive().optional(), "above 1: tokens already there get less likely; default: 1", "X"),
	...guidingFlags,
	orders: flag(choice(...ORDERS).default("random"), "how a pair is shown: stored, random or both ways", "HOW"),
};

/** What is kept of the judgements beside their being right: see filters.ts for the order in which they are asked. */
const filterFlags = {
	both_orders_rule: flag(toggle().default(false), "keep a pair only where it was judged right in both orders (with --orders both)"),
	max_per_order: flag(whole().optional(), "judgements kept per pair and shown order; default: all", "N"),
	max_per_record: flag(whole().optional(), "judgements kept per pair; default: all", "N"),
	scores_agree: flag(toggle().default(false), "keep judgements whose scores add up to their totals, the higher total being the answer"),
	min_right: flag(whole().optional(), "keep a pair where so many of its judgements are right", "K"),
	majority: flag(toggle().default(false), "keep a pair where more than half of its judgements are right"),
	min_pass_rate: flag(real(0, 1).optional(), "leave out pairs judged right less often than this", "X"),
	max_pass_rate: flag(real(0, 1).optional(), "leave out pairs judged right more often than this", "X"),
	keep_forced: flag(toggle().default(false), "keep judgements that were made to close their reasoning (--thinking_budget), too"),
	min_tokens: flag(whole().optional(), "least tokens of a kept judgement", "N"),
	max_tokens: flag(whole().optional(), "most tokens of a kept judgement", "N"),
	max_repetition: flag(real(0, 1).optional(), "most of a judgement that may repeat itself: a share of its runs of four words", "X"),
	min_confidence: flag(real(0, 1).optional(), "least confidence of a pair's label", "X"),
	min_vote_share: flag(real(0, 1).optional(), "least share of the votes (choice_dist) for the preferred image", "X"),
	min_votes: flag(whole().optional(), "least votes", "N"),
	dedup_images: flag(
		whole(0).optional(),
		"leave out pairs whose images are those of an earlier pair, but for so many of 64 hash bits",
		"BITS",
	),
	dedup_prompts: flag(positive(1).optional(), "leave out pairs whose caption shares so much with earlier ones', such as 0.8", "X"),
	max_per_prompt: flag(whole().default(1), "pairs kept of one caption, with --dedup_prompts", "N"),
	decontaminate: flag(datasetSources().optional(), "leave out pairs with a caption or an image of this evaluation set", "SOURCE", "repeat"),
	decontaminate_mapping: flag(pairMapping().optional(), "for pairs: sources among them, as --data_mapping", "FILE"),
	decontaminate_image_root: flag(text().optional(), "its image root; default: each data file's own folder", "DIR"),
};

/** `a,b` as a list of some of the names. */
const someOf = <const T extends readonly [string, ...string[]]>(...names: T) =>
	z.preprocess((value) => (typeof value === "string" ? value.split(",") : value), z.array(choice(...names)).min(1));

const exportFlags = {
	export: flag(
		someOf(...EXPORT_LAYOUTS).optional(),
		`also write training files for ${EXPORT_LAYOUTS.join(", ")}; commas between`,
		"LAYOUTS",
	),
	export_rows: flag(someOf(...EXPORT_KINDS).default([...EXPORT_KINDS]), "kept to imitate, wrong to practise on, pairs of both", "KINDS"),
	export_format: flag(choice(...EXPORT_FORMATS).default("jsonl"), "of the exported files; LightRFT gets json", "FORMAT"),
};

const journalFlags = {
	journal: flag(
		text().optional(),
		"every finished judgement; the same command goes on from it; default: journal.jsonl with the output",
		"FILE",
	),
	force_new: flag(toggle().default(false), "begin a new journal; one that is there keeps its content under another name"),
};

const reportFlags = {
	gallery_size: flag(whole(0).default(200), "judgements that report.html shows with their pictures, at most", "N"),
	gallery_seed: flag(whole(Number.MIN_SAFE_INTEGER).default(0), "of the draw for it", "N"),
};

/** Module names as PEFT takes them: one word that is more than a name is a regular expression, and so is `all-linear`. */
const moduleNames = () =>
	words("names of modules").transform((given) => (given.length === 1 && !/^[\w.]+$/.test(given[0]) ? given[0] : given));

/** Names as LightRFT has them, and PEFT. */
const loraFlags = {
	lora_rank: flag(whole(0).default(0), "train a LoRA adapter of this rank on the frozen model; 0: train the model itself", "N"),
	lora_alpha: flag(real(0).default(16), "the adapter is scaled by alpha / rank", "X"),
	lora_dropout: flag(real(0, 0.999).default(0), "part of the adapters' inputs dropped while training", "X"),
	target_modules: flag(
		moduleNames().default("all-linear"),
		"modules that get one, as PEFT has it: ends of names (q_proj v_proj), a regular expression over whole names, or all-linear",
		"NAME",
		"words",
	),
	exclude_modules: flag(moduleNames().optional(), "modules among them that get none, in the same forms", "NAME", "words"),
	layers_to_transform: flag(z.array(whole(0)).optional(), "numbers of the layers that get one; default: all", "N", "words"),
	use_rslora: flag(toggle().default(false), "scale by alpha / √rank"),
	modules_to_save: flag(words("ends of names of modules").optional(), "modules trained whole and saved with the adapter", "NAME", "words"),
};

const trainingFlags = {
	...loraFlags,
	train_batch_size: flag(whole().default(8), "conversations per step", "N"),
	micro_train_batch_size: flag(whole().default(1), "conversations per forward pass: memory against speed", "N"),
	gradient_checkpointing: flag(
		toggle().default(false),
		"compute layers again in the backward pass: less memory, more time, the same result",
	),
	max_epochs: flag(whole().default(3), "passes over the data", "N"),
	max_steps: flag(whole().optional(), "ends earlier", "N"),
	prompt_max_len: flag(whole().default(13000), "longer conversations are dropped and reported, never cut", "N"),
	actor_learning_rate: flag(positive().default(2.5e-6), "peak learning rate (also --learning_rate)", "X"),
	lr_scheduler: flag(
		orAlias(SCHEDULER_ALIASES, choice(...LR_SCHEDULERS)).default("cosine"),
		`after the warm-up: ${LR_SCHEDULERS.join(", ")} (wsd) (also --lr_scheduler_type)`,
		"NAME",
	),
	lr_warmup_ratio: flag(real(0, 1).default(0.03), "part of all steps spent warming up", "X"),
	lr_warmup_steps: flag(whole(0).optional(), "steps of it; goes before the ratio", "N"),
	min_lr_ratio: flag(
		real(0, 1).optional(),
		"where cosine_with_min_lr (default 0.1) and warmup_stable_decay (default 0) end, as a part of the peak",
		"X",
	),
	lr_decay_ratio: flag(real(0, 1).default(0.1), "part of all steps in which warmup_stable_decay decays", "X"),
	lr_decay_steps: flag(whole(0).optional(), "steps of it; goes before the ratio", "N"),
	optim: flag(
		orAlias(OPTIMIZER_ALIASES, choice(...OPTIMIZERS)).default("adamw"),
		"adamw (adamw_torch), or adafactor: hardly any memory beside the weights",
		"NAME",
	),
	l2: flag(real(0).default(0.01), "decoupled weight decay, on matrices (also --weight_decay)", "X"),
	adam_betas: flag(betas().default([0.9, 0.95]), "AdamW's", "X", "words"),
	freeze: flag(
		words("regular expressions over names of parameters").optional(),
		"what is not trained: vision_tower, merger, embeddings, or regular expressions over whole names, such as visual.*; default: nothing",
		"PATTERN",
		"words",
	),
	label_smoothing_factor: flag(real(0, 0.999).default(0), "part of each label given to all tokens alike", "X"),
	neftune_noise_alpha: flag(real(0).default(0), "NEFTune: noise on text embeddings while training, 5 to 15; 0: none", "X"),
	group_by_length: flag(
		toggle().default(false),
		"conversations of like length train together: less padding; each is read once more at the start",
	),
	packing: flag(
		toggle().default(false),
		"several conversations in one row, which don't see each other: less padding, the same loss (also --packing_samples)",
	),
	pack_length: flag(whole().optional(), "most tokens of a packed row; default: those of the step's longest conversation", "N"),
	max_norm: flag(positive().default(1), "gradients are clipped to this norm", "X"),
	save_steps: flag(interval().optional(), "steps between checkpoints; default: the end only", "N"),
	max_ckpt_num: flag(whole().optional(), "newest checkpoints kept; default: all (also --save_total_limit)", "N"),
	metric_for_best_model: flag(
		choice("accuracy", "parseRate", "saysImage1").optional(),
		"with --eval_data_path and --eval_steps: the checkpoint that is best by it is kept, too",
		"NAME",
	),
	greater_is_better: flag(toggle().default(true), "best is most; --no-greater_is_better: least"),
	early_stopping_patience: flag(
		whole().optional(),
		"with --metric_for_best_model: ends after so many evaluations in a row that bring nothing better",
		"N",
	),
	early_stopping_threshold: flag(real(0).default(0), "what a score must exceed the best by to count as better", "X"),
	logging_steps: flag(whole().default(1), "steps between lines of metrics", "N"),
	eval_steps: flag(interval().optional(), "steps between evaluations; default: the end only", "N"),
};

/** Several processes; names as torchrun and transformers have them, where they do. */
const workerFlags = {
	processes: flag(whole().default(1), "train on so many processes of this machine, each with its share of every step", "N"),
	workers: flag(
		workerAddresses().optional(),
		"host:port,… of every process, on many machines: the same list for all, each started with its own --rank. The ports are neither encrypted nor protected: a network of your own only",
		"LIST",
	),
	rank: flag(whole(0).optional(), "this process's place in --workers, from 0; the first one writes checkpoints and logs", "N"),
	ddp_timeout: flag(whole().default(1800), "seconds that processes wait for one that is there and does not come", "N"),
};

const heldOutFlags = {
	eval_data_path: flag(datasetSources().optional(), "held-out pairs to evaluate on", "SOURCE", "repeat"),
	eval_data_mapping: flag(pairMapping().optional(), "for pairs: sources among them, as --data_mapping", "FILE"),
	eval_image_root: flag(text().optional(), "their image root; default: each data file's own folder", "DIR"),
	eval_limit: flag(whole().optional(), "at most so many of them; default: all", "N"),
};

const roundFlags = {
	rounds: flag(whole().default(1), "rounds of sampling with the newest judge and training, at most; each in a folder round-<n>", "N"),
	train_from: flag(
		choice("base", "newest").default("base"),
		"what each round trains: the judge that the first began with, or the one that the round before has made",
		"NAME",
	),
	patience: flag(whole().default(1), "rounds in a row that may be no better on the dev pairs than the best before them: then it ends", "N"),
	dev_share: flag(
		real(0, 0.9).default(0.1),
		"with --rounds: part of the pairs, by their captions, that is not trained on: the best round is chosen by it; --eval_data_path is reported and chooses nothing",
		"X",
	),
	sample_budget: flag(
		choice("adaptive", "even").default("adaptive"),
		"from the second round on; adaptive: none of the pairs that were always right (their judgements are kept), so many more of those right now and then; even: the same of all",
		"NAME",
	),
	max_samples_per_record: flag(whole().optional(), "most of a pair with it; default: four times --samples_per_record", "N"),
};

const overwrite = flag(toggle().default(false), "replace what an earlier run wrote");
const relativePaths = flag(toggle().default(false), "write image paths relative to the data root; default: absolute");

const notBothQuestions = (o: { prompt_template?: string; task_instruction?: string }) =>
	o.prompt_template === undefined || o.task_instruction === undefined;
const NOT_BOTH_QUESTIONS = { path: ["task_instruction"], error: "expected --prompt_template or --task_instruction, not both" };
const bothOrdersShown = (o: { both_orders_rule: boolean; orders: string }) => !o.both_orders_rule || o.orders === "both";
const samplesDiffer = (o: { samples_per_record: number; temperature: number }) => o.samples_per_record === 1 || o.temperature > 0;
const SAMPLES_DIFFER = { path: ["samples_per_record"], error: "expected 1 with --temperature 0: all would be equal" };
const budgetFits = (o: { thinking_budget?: number; max_new_tokens: number }) =>
	o.thinking_budget === undefined || o.thinking_budget < o.max_new_tokens;
const BUDGET_FITS = { path: ["thinking_budget"], error: "expected less than --max_new_tokens: the answer needs some tokens" };
const budgetForReasoning = (o: { thinking_budget?: number; use_cot: boolean }) => o.thinking_budget === undefined || o.use_cot;
const BUDGET_FOR_REASONING = { path: ["thinking_budget"], error: "expected none with --no-use_cot: there is no reasoning to close" };
const patternsInOrder = (o: { repetition_min_pattern_size: number; repetition_max_pattern_size: number }) =>
	o.repetition_min_pattern_size <= o.repetition_max_pattern_size;
const PATTERNS_IN_ORDER = { path: ["repetition_min_pattern_size"], error: "expected it not to be above --repetition_max_pattern_size" };
const oneAdapter = (o: { adapter?: string; lora_rank: number }) => o.adapter === undefined || o.lora_rank === 0;
const ONE_ADAPTER = { path: ["lora_rank"], error: "expected 0 with --adapter, which is trained further as it is" };
const oneBaseInRounds = (o: { adapter?: string; rounds: number }) => o.adapter === undefined || o.rounds === 1;
const ONE_BASE_IN_ROUNDS = {
	path: ["adapter"],
	error: "expected none with --rounds, which begin with a model: merge-adapter makes one, or name the adapter as --model_path",
};
const plansWhole = (o: { dry_run: boolean; adapter?: string; lora_rank: number; pretrain: string }) =>
	!o.dry_run || (o.lora_rank === 0 && o.adapter === undefined && !isAdapterFolder(o.pretrain));
const PLANS_WHOLE = { path: ["dry_run"], error: "expected no adapter with it: the plan is that of training the model itself" };
const scaledAdapter = (o: { lora_rank: number; lora_alpha: number }) => o.lora_rank === 0 || o.lora_alpha > 0;
const SCALED_ADAPTER = { path: ["lora_alpha"], error: "expected a number above 0 with --lora_rank" };
const oneDtype = (o: { bf16: boolean; dtype: string }) => !o.bf16 || o.dtype !== "float32";
const ONE_DTYPE = { path: ["bf16"], error: "expected it or --dtype float32, not both" };
/** What is set at the server, with where. */
const isOurs = (o: z.output<z.ZodObject<typeof modelFlags>> & { model_path: string }) =>
	!isRemote(o.model_path) ||
	(o.adapter === undefined &&
		o.backend === "auto" &&
		o.dtype === "auto" &&
		!o.bf16 &&
		!o.eager &&
		o.min_pixels === undefined &&
		o.max_pixels === undefined);
const mappingGiven = (o: { data_path: readonly string[]; data_mapping?: string | PairMapping }) =>
	o.data_mapping !== undefined || !hasMapped(o.data_path);
const MAPPING_GIVEN = { path: ["data_mapping"], error: "expected a file with a mapping, for the pairs: source" };
const evalMappingGiven = (o: { eval_data_path?: readonly string[]; eval_data_mapping?: string | PairMapping }) =>
	o.eval_data_mapping !== undefined || !hasMapped(o.eval_data_path);
const EVAL_MAPPING_GIVEN = { path: ["eval_data_mapping"], error: "expected a file with a mapping, for the pairs: source" };
const decontaminates = (o: { decontaminate?: readonly string[]; decontaminate_mapping?: string | PairMapping }) =>
	o.decontaminate_mapping !== undefined || !hasMapped(o.decontaminate);
const DECONTAMINATES = { path: ["decontaminate_mapping"], error: "expected a file with a mapping, for the pairs: source" };
const rankInWorkers = (o: { workers?: readonly string[]; rank?: number }) =>
	o.workers === undefined ? o.rank === undefined : o.rank !== undefined && o.rank < o.workers.length;
const RANK_IN_WORKERS = { path: ["rank"], error: "expected a place in --workers, from 0, with --workers and only then" };
const oneKindOfWorkers = (o: { workers?: readonly string[]; processes: number }) => o.workers === undefined || o.processes === 1;
const ONE_KIND_OF_WORKERS = { path: ["processes"], error: "expected it or --workers, not both: name each process in --workers" };
const SERVERS_OWN = {
	path: ["model_path"],
	error:
		"expected no --adapter, --backend, --dtype, --bf16, --eager, --min_pixels or --max_pixels with a remote judge: the server decides (vLLM: --dtype, --mm-processor-kwargs)",
};
const guidesItself = (o: { model_path: string; constrain_answers: boolean; thinking_budget?: number }) =>
	!isRemote(o.model_path) || (!o.constrain_answers && o.thinking_budget === undefined);
const GUIDES_ITSELF = {
	path: ["model_path"],
	error: "expected no --constrain_answers or --thinking_budget with a remote judge: a chat endpoint can't be made to say a token",
};
const BOTH_ORDERS_SHOWN = { path: ["both_orders_rule"], error: "expected --orders both with it: a pair must be shown both ways" };

const passRatesInOrder = ({ min_pass_rate = 0, max_pass_rate = 1 }: { min_pass_rate?: number; max_pass_rate?: number }) =>
	min_pass_rate <= max_pass_rate;
const PASS_RATES_IN_ORDER = { path: ["min_pass_rate"], error: "expected it not to be above --max_pass_rate" };
const rootForRelative = (o: { relative_paths: boolean; image_root?: string }) => !o.relative_paths || o.image_root !== undefined;
const ROOT_FOR_RELATIVE = { path: ["relative_paths"], error: "expected --image_root with it: the folder to be relative to" };

const roundsHaveDevPairs = (o: { rounds: number; dev_share: number }) => o.rounds === 1 || o.dev_share > 0;
const ROUNDS_HAVE_DEV_PAIRS = { path: ["dev_share"], error: "expected more than 0 with --rounds: the best round is chosen by these pairs" };
const roundsHaveJournals = (o: { rounds: number; journal?: string }) => o.rounds === 1 || o.journal === undefined;
const ROUNDS_HAVE_JOURNALS = { path: ["journal"], error: "expected none with --rounds: each round has its own, in its folder" };
const mostSamplesFit = (o: { samples_per_record: number; max_samples_per_record?: number }) =>
	o.max_samples_per_record === undefined || o.max_samples_per_record >= o.samples_per_record;
const MOST_SAMPLES_FIT = { path: ["max_samples_per_record"], error: "expected it not to be below --samples_per_record" };

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
		overwrite,
	})
	.refine(oneDtype, ONE_DTYPE)
	.refine(isOurs, SERVERS_OWN)
	.refine(guidesItself, GUIDES_ITSELF)
	.refine(notBothQuestions, NOT_BOTH_QUESTIONS)
	.refine(budgetFits, BUDGET_FITS)
	.refine(budgetForReasoning, BUDGET_FOR_REASONING)
	.refine(patternsInOrder, PATTERNS_IN_ORDER)
	.refine(bothOrdersShown, BOTH_ORDERS_SHOWN)
	.refine(samplesDiffer, SAMPLES_DIFFER)
	.refine(passRatesInOrder, PASS_RATES_IN_ORDER)
	.refine(rootForRelative, ROOT_FOR_RELATIVE)
	.refine(mappingGiven, MAPPING_GIVEN)
	.refine(decontaminates, DECONTAMINATES);

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
		train_data: flag(conversationFiles(), 'ShareGPT rows, "imagegen-cot-reward-5k:path.json" or "path.json"', "SOURCE", "repeat"),
		data_root: flag(text().optional(), "folder of the rows' images; default: paths as they are", "DIR"),
		dry_run: flag(
			toggle().default(false),
			"print what the training will take (memory, steps, time, and what to change where it doesn't fit), and end; a config.json is enough",
		),
		...trainingFlags,
		...engineFlags,
		...workerFlags,
		log_dir: flag(text().optional(), "metrics.jsonl and TensorBoard events (also --use_tensorboard); default: none", "DIR"),
		resume_from_checkpoint: flag(
			text().optional(),
			"a checkpoint-<step> folder to go on from, or a folder of some: the newest that is whole; auto: save_path's, if there is one",
			"DIR",
		),
		...heldOutFlags,
		eval_batch_size: flag(whole().default(32), "judgements generated together in evaluations", "N"),
		generate_max_len: flag(whole().default(1024), "most tokens of a judgement in evaluations", "N"),
		use_cot: questionFlags.use_cot,
		prompt_template: questionFlags.prompt_template,
		seed,
		...modelFlags,
		overwrite,
	})
	.refine(oneDtype, ONE_DTYPE)
	.refine(oneAdapter, ONE_ADAPTER)
	.refine(scaledAdapter, SCALED_ADAPTER)
	.refine(plansWhole, PLANS_WHOLE)
	.refine(evalMappingGiven, EVAL_MAPPING_GIVEN)
	.refine(rankInWorkers, RANK_IN_WORKERS)
	.refine(oneKindOfWorkers, ONE_KIND_OF_WORKERS);

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
		json: flag(toggle().default(false), "print JSON"),
	})
	.refine(oneDtype, ONE_DTYPE)
	.refine(isOurs, SERVERS_OWN)
	.refine(guidesItself, GUIDES_ITSELF)
	.refine(notBothQuestions, NOT_BOTH_QUESTIONS)
	.refine(budgetFits, BUDGET_FITS)
	.refine(budgetForReasoning, BUDGET_FOR_REASONING)
	.refine(patternsInOrder, PATTERNS_IN_ORDER)
	.refine(mappingGiven, MAPPING_GIVEN);

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
	.refine(roundsHaveDevPairs, ROUNDS_HAVE_DEV_PAIRS)
	.refine(roundsHaveJournals, ROUNDS_HAVE_JOURNALS)
	.refine(mostSamplesFit, MOST_SAMPLES_FIT)
	.refine(oneDtype, ONE_DTYPE)
	.refine(oneBaseInRounds, ONE_BASE_IN_ROUNDS)
	.refine(oneAdapter, ONE_ADAPTER)
	.refine(scaledAdapter, SCALED_ADAPTER)
	.refine(notBothQuestions, NOT_BOTH_QUESTIONS)
	.refine(budgetFits, BUDGET_FITS)
	.refine(budgetForReasoning, BUDGET_FOR_REASONING)
	.refine(patternsInOrder, PATTERNS_IN_ORDER)
	.refine(bothOrdersShown, BOTH_ORDERS_SHOWN)
	.refine(samplesDiffer, SAMPLES_DIFFER)
	.refine(passRatesInOrder, PASS_RATES_IN_ORDER)
	.refine(rootForRelative, ROOT_FOR_RELATIVE)
	.refine(mappingGiven, MAPPING_GIVEN)
	.refine(evalMappingGiven, EVAL_MAPPING_GIVEN)
	.refine(decontaminates, DECONTAMINATES);

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
	.refine(passRatesInOrder, PASS_RATES_IN_ORDER)
	.refine(rootForRelative, ROOT_FOR_RELATIVE)
	.refine(decontaminates, DECONTAMINATES);

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
export type DrawOptions = Omit<SampleOptions, "output_path" | keyof typeof rayFlags>;
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

/** Values of a config file, and its name for messages. */
export interface ConfigValues {
	file: string;
	/** Keys already in the flags' spelling. */
	values: Readonly<Record<string, unknown>>;
}

/**
 * Checks flags and config together; a flag goes before the config's key.
 * @throws UsageError that names every flag or key that is wrong: expected, got.
 */
export function parseOptions<T extends z.ZodObject>(
	schema: T,
	flags: Readonly<Record<string, unknown>>,
	config?: ConfigValues,
): z.output<T> {
	const given: Record<string, unknown> = { ...config?.values, ...flags };
	const parsed = schema.safeParse(given);
	if (parsed.success) return parsed.data;
	const lines = parsed.error.issues.map((issue) => {
		const key = String(issue.path[0] ?? "");
		const where = config && !(key in flags) && key in config.values ? `${config.file}: ${key}` : `--${key}`;
		if (given[key] === undefined) return `${where} is missing: ${flagInfo(schema.shape[key] as z.ZodType).help}`;
		return `${where}: ${issue.message}${issue.message.includes("got ") ? "" : `, got ${JSON.stringify(given[key])}`}`;
	});
	throw new UsageError([...new Set(lines)].join("\n"));
}

/** A config file's keys in the flags' spelling. @throws UsageError for a key given in two spellings. */
export function normaliseConfig(file: string, values: Readonly<Record<string, unknown>>): ConfigValues {
	const normalised: Record<string, unknown> = {};
	for (const [key, value] of Object.entries(values)) {
		const name = normaliseKey(key, ALIASES);
		if (name in normalised) throw new UsageError(`${file}: ${key}: expected each option once, got ${name} in two spellings`);
		normalised[name] = value;
	}
	return { file, values: normalised };
}
