/** Flags that several commands share, in groups. Names are LightRFT's where LightRFT has the flag. */
import { z } from "zod";
import { EXPORT_FORMATS, EXPORT_KINDS, EXPORT_LAYOUTS, LR_SCHEDULERS, OPTIMIZERS } from "../index.js";
import { choice, flag, interval, positive, real, text, toggle, whole } from "./flag.js";
import {
	adapterFolder,
	betas,
	datasetSources,
	METRIC_ALIASES,
	moduleNames,
	OPTIMIZER_ALIASES,
	orAlias,
	pairMapping,
	SCHEDULER_ALIASES,
	shardName,
	someOf,
	words,
	workerAddresses,
} from "./option-values.js";

export const modelFlags = {
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

export const dataFlags = {
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

export const ORDERS = ["stored", "random", "both"] as const;
export const seed = flag(whole(Number.MIN_SAFE_INTEGER).default(42), "of shuffling, random orders and sampling", "N");
export const batchSize = flag(whole().default(32), "judgements generated together", "N");
export const maxNewTokens = flag(whole().default(2048), "most tokens of a judgement", "N");

export const questionFlags = {
	use_cot: flag(toggle().default(true), "expect reasoning before the answer; --no-use_cot: the answer alone"),
	prompt_template: flag(
		text().optional(),
		"text file with {prompt} for the caption; default: prompt.txt of the checkpoint, else the built-in question",
		"FILE",
	),
	task_instruction: flag(text().optional(), "the same as text", "TEXT"),
};

/** What a judgement may be. Names as vLLM has them, where it has them. */
export const guidingFlags = {
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

export const samplingFlags = {
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
export const filterFlags = {
	both_orders_rule: flag(toggle().default(false), "keep a pair only where it was judged right in both orders (with --orders both)"),
	max_one_order: flag(
		whole().optional(),
		"with --both_orders_rule, judgements kept of a pair that was judged right in one order only; default: none",
		"N",
	),
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

export const exportFlags = {
	export: flag(
		someOf(...EXPORT_LAYOUTS).optional(),
		`also write training files for ${EXPORT_LAYOUTS.join(", ")}; commas between`,
		"LAYOUTS",
	),
	export_rows: flag(someOf(...EXPORT_KINDS).default([...EXPORT_KINDS]), "kept to imitate, wrong to practise on, pairs of both", "KINDS"),
	export_format: flag(choice(...EXPORT_FORMATS).default("jsonl"), "of the exported files; LightRFT gets json", "FORMAT"),
};

export const journalFlags = {
	journal: flag(
		text().optional(),
		"every finished judgement; the same command goes on from it; default: journal.jsonl with the output",
		"FILE",
	),
	force_new: flag(toggle().default(false), "begin a new journal; one that is there keeps its content under another name"),
};

export const reportFlags = {
	gallery_size: flag(whole(0).default(200), "judgements that report.html shows with their pictures, at most", "N"),
	gallery_seed: flag(whole(Number.MIN_SAFE_INTEGER).default(0), "of the draw for it", "N"),
};

/** Names as LightRFT has them, and PEFT. */
export const loraFlags = {
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

export const trainingFlags = {
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
		orAlias(METRIC_ALIASES, choice("accuracy", "parseRate", "saysImage1", "loss")).optional(),
		"with --eval_steps, and --eval_data_path or for the loss --eval_dataset: the checkpoint that is best by it is kept, too",
		"NAME",
	),
	greater_is_better: flag(toggle().optional(), "best is most; --no-greater_is_better: least; default: least for the loss, most for others"),
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
export const workerFlags = {
	processes: flag(
		whole().default(1),
		"so many processes of this machine, each with its share of every step, and of the pairs to judge",
		"N",
	),
	workers: flag(
		workerAddresses().optional(),
		"host:port,… of every process, on many machines: the same list for all, each started with its own --rank. The ports are neither encrypted nor protected: a network of your own only",
		"LIST",
	),
	rank: flag(whole(0).optional(), "this process's place in --workers, from 0; the first one writes checkpoints and logs", "N"),
	ddp_timeout: flag(whole().default(1800), "seconds that processes wait for one that is there and does not come", "N"),
};

export const heldOutFlags = {
	eval_data_path: flag(datasetSources().optional(), "held-out pairs to evaluate on", "SOURCE", "repeat"),
	eval_data_mapping: flag(pairMapping().optional(), "for pairs: sources among them, as --data_mapping", "FILE"),
	eval_image_root: flag(text().optional(), "their image root; default: each data file's own folder", "DIR"),
	eval_limit: flag(whole().optional(), "at most so many of them; default: all", "N"),
	log_judgements: flag(
		whole(0).default(4),
		"pairs among them, always the same, whose judgements go to the log with their pictures at each evaluation of a training; 0: none",
		"N",
	),
};

export const roundFlags = {
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

export const overwrite = flag(toggle().default(false), "replace what an earlier run wrote");
export const relativePaths = flag(toggle().default(false), "write image paths relative to the data root; default: absolute");
