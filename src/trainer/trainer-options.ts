/** What a training run can be told; names and defaults are LightRFT's and transformers' where they have them. */
import { z } from "zod";
import type { WorkerGroup } from "../backend/cluster/worker-group.js";
import type { AdapterFacts } from "../model/generative-model.js";
import { type DpoOptions, resolveDpo } from "./dpo.js";
import type { HeldOutConversation } from "./evaluation-loss.js";
import type { Evaluate } from "./evaluator.js";
import type { LrScheduleOptions, LrScheduler } from "./lr-schedule.js";
import type { OptimizerName } from "./make-optimizer.js";
import type { RunIdentity } from "./run-identity.js";
import { ZERO_STAGES, type ZeroStage } from "./sharding/exchange-with.js";
import type { TrainingEvent } from "./training-events.js";

export interface TrainerOptions {
	/** Receives `checkpoint-<step>/` folders and, at the end, the fine-tuned model itself. Default: nothing is written. */
	savePath?: string;
	/** Image paths are relative to it and may not lie outside. Default: paths are taken as they are. */
	dataRoot?: string;
	/** Examples per optimizer step. Default 8. */
	trainBatchSize?: number;
	/** Examples per forward pass: as many as memory allows; the result is the same. Default 1. */
	microTrainBatchSize?: number;
	/** Compute layers again in the backward pass instead of keeping their intermediates: less memory, more time, the same result. Default false. */
	gradientCheckpointing?: boolean;
	/** Run op by op instead of as graphs: the same results but for rounding, slower, in more memory. Default false. */
	eager?: boolean;
	/** Passes over the data. Default 3. */
	maxEpochs?: number;
	/** Ends earlier; the schedule then runs over these steps. */
	maxSteps?: number;
	/** Peak learning rate (LightRFT's `actor_learning_rate`). Default 2.5e-6. */
	learningRate?: number;
	/** Default `cosine`. */
	lrScheduler?: LrScheduler;
	/** Where `cosine_with_min_lr` (default 0.1) and `warmup_stable_decay` (default 0) end, as a part of `learningRate`. */
	minLrRatio?: number;
	/** Part of all steps in which `warmup_stable_decay` decays, the last ones. Default 0.1. */
	lrDecayRatio?: number;
	/** These steps' number; goes before `lrDecayRatio`. */
	lrDecaySteps?: number;
	/** Part of all steps spent warming up. Default 0.03. */
	warmupRatio?: number;
	/** Steps spent warming up; goes before `warmupRatio`. */
	warmupSteps?: number;
	/** `adafactor` has a second moment of a row and a column per matrix and no first: 1 number for AdamW's 500 in a matrix of 2000 × 2000. Default `adamw`. */
	optimizer?: OptimizerName;
	/** AdamW's. Default [0.9, 0.95]. */
	betas?: readonly [number, number];
	/** Decoupled from the gradient, on matrices only: norms and biases are not decayed. Default 0.01. */
	weightDecay?: number;
	/**
	 * What is not trained: regular expressions over whole names of parameters (`visual.*`), or `vision_tower`, `merger`, `embeddings`. It has
	 * no gradient, no moments and, where it was loaded so (LoadModelOptions.frozen), no float32 copy. Default: all is trained.
	 */
	freeze?: readonly string[];
	/**
	 * Learn from pairs of answers (`readPreferencePairs`, `toPreferencePairs`) by direct preference optimization, with the model that training begins
	 * with as the reference. A pair is one row, two in a forward pass. Default: supervised fine-tuning on conversations.
	 */
	dpo?: DpoOptions;
	/** Part of each label given to all tokens alike, in [0, 1); the reported loss is the smoothed one. Default 0. */
	labelSmoothing?: number;
	/** NEFTune: noise of ±alpha / √(tokens · channels) on the text embeddings, 5 to 15 in its paper; none in evaluations. Default 0. */
	neftuneNoiseAlpha?: number;
	/** Gradients with a larger global L2 norm are scaled down to it. Default 1. */
	maxGradNorm?: number;
	/** Decides the order of rows. Default 42. */
	seed?: number;
	/** An example with more tokens (prompt, image tokens and answer) is dropped and reported, never cut. Default 13000. */
	promptMaxLen?: number;
	/** Rows of like length train together, in an order that is still random; each row is encoded once before the first step. Default false. */
	groupByLength?: boolean;
	/** Several conversations of a step in one row, which don't see each other: less padding, the same loss. Default false. */
	packing?: boolean;
	/** Most tokens of a packed row. Default: those of the step's longest conversation. */
	packLength?: number;
	/**
	 * The processes that train together (`joinWorkers`), with the same rows and options in each: every one computes its share of each step and makes the
	 * same update, the first one writes. `evaluate` is called in all of them and must give the same scores in all. Default: one process alone.
	 */
	workers?: WorkerGroup;
	/**
	 * With `workers`, what is in shards (DeepSpeed's ZeRO): 0 nothing, 1 the optimizer's state, 2 gradients, too. The same updates up to rounding. Needs AdamW
	 * and graphs. Default 0.
	 */
	zeroStage?: ZeroStage;
	/** Scores the model, e.g. on held-out pairs; called every `evalEvery` steps and after the last. Judgements that it gives, too, go to the log. */
	evaluate?: Evaluate;
	/** Held-out conversations, with DPO, too: their loss is the score `loss` of each evaluation, each labelled token counted alike. Default: none. */
	evalDataset?: Iterable<HeldOutConversation> | AsyncIterable<HeldOutConversation>;
	/** Default: after the last step only. */
	evalEvery?: number;
	/** One of the evaluation's scores: the checkpoint with the best is kept beside the newest. Default: none. */
	bestMetric?: string;
	/** Default: false for a `bestMetric` whose name ends in `loss`, true for others. */
	greaterIsBetter?: boolean;
	/** Evaluations in a row that bring no better `bestMetric`, after which training ends. Default: it goes on. */
	earlyStoppingPatience?: number;
	/** What a score must exceed the best by to count as better. Default 0. */
	earlyStoppingThreshold?: number;
	/** Steps between checkpoints. Default: the final model only. */
	saveSteps?: number;
	/** Newest checkpoints kept, and beside them the best. Default: all. */
	saveTotalLimit?: number;
	/** Receives `metrics.jsonl`, `wandb-history.jsonl`, `judgements.jsonl` and a TensorBoard event file; see MetricsLog. Default: none is written. */
	logDir?: string;
	/** Steps between lines of metrics. Default 1. */
	loggingSteps?: number;
	/**
	 * A `checkpoint-<step>` folder: parameters, optimizer and place in the data are taken from it, once its checksums are right. Or a folder that
	 * holds some: the newest that is whole.
	 */
	resumeFromCheckpoint?: string;
	/** Stops before the next micro-batch: a checkpoint is saved (with a `savePath`), and `fit` throws the signal's reason. */
	signal?: AbortSignal;
	onEvent?: (event: TrainingEvent) => void;
}

/**
 * Every option with its default.
 * @throws RangeError for a number that is out of range
 */
export function resolveOptions({
	trainBatchSize = 8,
	microTrainBatchSize = 1,
	gradientCheckpointing = false,
	eager = false,
	maxEpochs = 3,
	maxSteps = Infinity,
	learningRate = 2.5e-6,
	lrScheduler = "cosine",
	lrDecayRatio = 0.1,
	warmupRatio = 0.03,
	optimizer = "adamw",
	betas = [0.9, 0.95],
	weightDecay = 0.01,
	maxGradNorm = 1,
	freeze = [],
	labelSmoothing = 0,
	neftuneNoiseAlpha = 0,
	dpo,
	groupByLength = false,
	packing = false,
	zeroStage = 0,
	seed = 42,
	promptMaxLen = 13000,
	evalEvery = Infinity,
	bestMetric,
	greaterIsBetter = !bestMetric?.endsWith("loss"),
	earlyStoppingPatience = Infinity,
	earlyStoppingThreshold = 0,
	saveSteps = Infinity,
	saveTotalLimit = Infinity,
	loggingSteps = 1,
	onEvent = () => {},
	...others
}: TrainerOptions) {
	checkCounts({ trainBatchSize, microTrainBatchSize, maxEpochs, maxSteps, evalEvery, earlyStoppingPatience });
	checkCounts({ saveSteps, saveTotalLimit, loggingSteps });
	if (earlyStoppingPatience < Infinity && bestMetric === undefined) {
		throw new RangeError("Trainer: earlyStoppingPatience without bestMetric; expected the evaluation's score to stop by");
	}
	checkZero(zeroStage, { optimizer, eager });
	checkShares({ labelSmoothing, minLrRatio: others.minLrRatio ?? 0 });
	if (dpo) refuseWithPairs({ packing, neftuneNoiseAlpha, labelSmoothing });
	return {
		...{ trainBatchSize, microTrainBatchSize, gradientCheckpointing, eager, maxEpochs, maxSteps, seed, promptMaxLen },
		...{ learningRate, lrScheduler, lrDecayRatio, warmupRatio, optimizer, betas, weightDecay, maxGradNorm, freeze },
		...{ labelSmoothing, neftuneNoiseAlpha, dpo: dpo && resolveDpo(dpo), groupByLength, packing, zeroStage },
		...{
			evalEvery,
			bestMetric,
			greaterIsBetter,
			earlyStoppingPatience,
			earlyStoppingThreshold,
			saveSteps,
			saveTotalLimit,
			loggingSteps,
			onEvent,
			...others,
		},
	};
}

export type ResolvedOptions = ReturnType<typeof resolveOptions>;

/** The schedule, with a number of steps for every share of them. */
export function resolveSchedule(options: ResolvedOptions, totalSteps: number) {
	const { learningRate, lrScheduler: scheduler, warmupRatio, minLrRatio, lrDecayRatio } = options;
	const { warmupSteps = Math.ceil(warmupRatio * totalSteps), lrDecaySteps = Math.ceil(lrDecayRatio * totalSteps) } = options;
	return {
		...{ learningRate, totalSteps, scheduler, warmupSteps },
		...(minLrRatio !== undefined && { minLrRatio }),
		...(scheduler === "warmup_stable_decay" && { decaySteps: lrDecaySteps }),
	} satisfies LrScheduleOptions;
}

/**
 * What decides the run's numbers, beside its rows; see RunIdentity. A constant rate does not depend on the number of steps. An adapter's dropout is drawn
 * for each micro-batch: with it, the split into them decides, too.
 */
export function decisiveOptions(
	options: ResolvedOptions,
	schedule: ReturnType<typeof resolveSchedule>,
	adapter?: AdapterFacts,
): RunIdentity["options"] {
	const { seed, trainBatchSize, promptMaxLen, groupByLength, maxGradNorm, weightDecay, labelSmoothing, neftuneNoiseAlpha } = options;
	const { totalSteps, ...unending } = schedule;
	return {
		...(schedule.scheduler === "constant" ? unending : schedule),
		...{ seed, trainBatchSize, promptMaxLen, groupByLength, maxGradNorm, weightDecay, labelSmoothing, neftuneNoiseAlpha },
		...(options.dpo && { dpo: { ...options.dpo } }),
		optimizer: options.optimizer,
		betas: options.optimizer === "adamw" ? [...options.betas] : null,
		freeze: [...options.freeze],
		...(adapter && { adapter: z.json().parse(adapter.settings) }),
		...(adapter?.dropout && {
			microTrainBatchSize: options.microTrainBatchSize,
			packing: options.packing,
			processes: options.workers?.size ?? 1,
		}),
		...(adapter?.dropout && options.packing && { packLength: options.packLength ?? null }),
	};
}

const NOT_WITH_PAIRS: Readonly<Record<string, string>> = {
	packing: "an answer's log-probability is that of a row of its own; leave it out (groupByLength saves padding, too)",
	neftuneNoiseAlpha: "with noise the model would differ from its own reference before it has learned anything; leave it out",
	labelSmoothing: "it is about the labels of tokens; dpo.labelSmoothing is about those of pairs",
};

function refuseWithPairs(options: Record<string, number | boolean>): void {
	for (const [name, value] of Object.entries(options)) {
		if (value) throw new RangeError(`Trainer: ${name} with dpo can't be honoured: ${NOT_WITH_PAIRS[name]}`);
	}
}

function checkCounts(options: Record<string, number>): void {
	for (const [name, value] of Object.entries(options)) {
		if (value >= 1 && (Number.isInteger(value) || value === Infinity)) continue;
		throw new RangeError(`Trainer: ${name} is ${value}; expected a whole number, 1 or more`);
	}
}

function checkZero(zeroStage: ZeroStage, { optimizer, eager }: Pick<TrainerOptions, "optimizer" | "eager">): void {
	if (zeroStage === 0) return;
	if (!ZERO_STAGES.includes(zeroStage)) throw new RangeError(`Trainer: zeroStage is ${zeroStage}; expected ${ZERO_STAGES.join(", ")}`);
	if (optimizer === "adafactor") {
		throw new RangeError(
			`Trainer: zeroStage ${zeroStage} with adafactor, which keeps a row and a column of each matrix: nothing to shard, and its means are of whole matrices; take adamw, or stage 0`,
		);
	}
	if (eager)
		throw new RangeError(`Trainer: zeroStage ${zeroStage} with eager; its exchanges are parts of graphs: leave eager out, or take stage 0`);
}

function checkShares(options: Record<string, number>): void {
	for (const [name, value] of Object.entries(options)) {
		if (value >= 0 && value < 1) continue;
		throw new RangeError(`Trainer: ${name} is ${value}; expected a number from 0 to below 1`);
	}
}
