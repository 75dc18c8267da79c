/**
 * What a training run will take, before it begins and without weights: parameters, memory, steps, time, and whether it fits this machine.
 *
 * Peak memory is counted, not guessed from the number of parameters: weights, moments, gradients (those of small parameters twice, as they are laid end to end),
 * what the largest bucket's update holds, and what a micro-batch keeps for its backward pass (ModelShape.pass) with a chunk of logits.
 * The terms' factors are the trainer's own; only `RUNTIME_BYTES` is measured. bench/plan.ts compares the sum with measured peaks.
 */
import { totalmem } from "node:os";
import type { BatchShape, ModelShape } from "../model/generative-model.js";
import { frozenBy, trainableParameters } from "./freeze.js";
import { paddedLength } from "./labelled-batch.js";
import type { OptimizerName } from "./make-optimizer.js";
import type { ZeroStage } from "./sharding/exchange-with.js";

/** Node with TensorFlow's library, before any weight: 490 MiB on Linux. */
const RUNTIME_BYTES = 490 * 2 ** 20;
const FLOAT = 4;
/** As in parameter-buckets.ts: a larger parameter stands alone. */
const BUCKET_ELEMENTS = 2 ** 22;
/** As in loss.ts. */
const CHUNK_ROWS = 256;
/** Logits, their log-softmax, the softmax and its gradient. */
const LOGITS_HELD = 4;
/** Of the largest bucket: new moments and weights; with Adafactor the new weights. */
const UPDATE_HELD: Record<OptimizerName, number> = { adamw: 3, adafactor: 1 };
/** Part of the products' speed that a whole step reaches. */
const STEP_EFFICIENCY = 0.5;

/** What is trained, in what, on how much; names and defaults are TrainerOptions' where it has them. */
export interface PlanTrainingOptions {
	/** Conversations. */
	rows: number;
	/** Tokens of the longest, image tokens included. */
	longestRow: number;
	/** Mean tokens. Default: `longestRow`. */
	meanRow?: number;
	/** Of a row, that are learnt from. Default: a fifth. */
	labelledPerRow?: number;
	/** Default 2. */
	imagesPerRow?: number;
	/** Tokens of one image. Default 0 without images, else those of 448 × 448 pixels. */
	tokensPerImage?: number;
	/** What is computed in; weights to train are float32 either way. Default `float32`. */
	dtype?: "float32" | "bfloat16";
	trainBatchSize?: number;
	microTrainBatchSize?: number;
	maxEpochs?: number;
	maxSteps?: number;
	gradientCheckpointing?: boolean;
	optimizer?: OptimizerName;
	freeze?: readonly string[];
	/** Processes, each on a device of its own: the plan is one's. Default 1. */
	processes?: number;
	/** What they share out; see TrainerOptions. Default 0. */
	zeroStage?: ZeroStage;
	/** Memory there is, in bytes. Default: this machine's, or what its container may use. */
	memory?: number;
	/** Operations per second of large products, to estimate time by. Default: no estimate. */
	flopsPerSecond?: number;
	/** Tokens per second of training, where they are known; goes before `flopsPerSecond`. */
	tokensPerSecond?: number;
}

/** All sizes in bytes. */
export interface TrainingPlan {
	parameters: number;
	trainable: number;
	/** Part of the parameters that is trained. */
	trainableShare: number;
	memory: {
		runtime: number;
		weights: number;
		optimizer: number;
		gradients: number;
		/** What the update of the largest bucket holds. */
		update: number;
		/** Of a micro-batch: kept for the backward pass, in work, and logits. */
		activations: number;
		/** The same the other way, with or without gradient checkpointing. */
		activationsOtherwise: number;
		peak: number;
		available: number;
	};
	gradientCheckpointing: boolean;
	fits: boolean;
	/** Ways to need less, each on top of those before, to the first that fits or to the last. Empty where it fits. */
	changes: { change: string; peak: number }[];
	steps: number;
	/** Of the whole run, the mean of all rows. */
	tokens: number;
	/** Operations of the whole run, forward and backward. */
	flops: number;
	/** Estimated; absent without a throughput. */
	seconds?: number;
	/** What `seconds` comes from. */
	throughput?: string;
}

/**
 * @param shape of the model: `readModelShape(folder)`
 * @throws where nothing is left to train, or a pattern of `freeze` fits no parameter
 */
export function planTraining(shape: ModelShape, options: PlanTrainingOptions): TrainingPlan {
	const { trainBatchSize = 8, maxEpochs = 3, maxSteps = Number.POSITIVE_INFINITY, gradientCheckpointing = false } = options;
	const { rows, longestRow, meanRow = longestRow } = options;
	const memory = memoryOf(shape, options);
	const parameters = elements(shape.parameters.values());
	const trainable = elements(trainableParameters(shape.parameters, options.freeze ?? []).values());
	const steps = Math.min(maxSteps, Math.ceil(rows / trainBatchSize) * maxEpochs);
	const rowsTrained = Math.min(steps * trainBatchSize, rows * maxEpochs);
	const tokens = Math.round(rowsTrained * meanRow);
	const flops = rowsTrained * rowFlops(shape, options, meanRow);
	const fits = memory.peak <= memory.available;
	return {
		...{ parameters, trainable, trainableShare: trainable / parameters, memory, gradientCheckpointing, fits, steps, tokens, flops },
		changes: fits ? [] : waysToFit(shape, options, memory.available),
		...timeOf({ tokens, flops }, options),
	};
}

function memoryOf(shape: ModelShape, options: PlanTrainingOptions): TrainingPlan["memory"] {
	const { freeze = [], dtype = "float32", optimizer: name = "adamw", gradientCheckpointing = false } = options;
	const { trainBatchSize = 8, microTrainBatchSize = 1, processes = 1, zeroStage = 0 } = options;
	const bfloat16 = dtype === "bfloat16";
	const trained = trainableParameters(shape.parameters, freeze);
	const sizes = [...trained.values()].map(product);
	const total = sizes.reduce((sum, size) => sum + size, 0);
	const frozenElements = elements(shape.parameters.values()) - total;
	// In bfloat16 a trained matrix is rounded for its products, and both passes use the one rounding.
	const weights = FLOAT * total + (bfloat16 ? 2 * (total + frozenElements) : FLOAT * frozenElements);
	const shared = sizes.filter((size) => size <= BUCKET_ELEMENTS).reduce((sum, size) => sum + size, 0);
	const accumulates = microTrainBatchSize < trainBatchSize / processes;
	// In shards: the old sums and the new, and at most a micro-batch's gradients on their way.
	const besides = zeroStage === 2 ? (2 * total) / processes : accumulates ? Math.max(shared, total / 2) : shared;
	const gradients = FLOAT * (total + besides);
	const update = UPDATE_HELD[name] * FLOAT * Math.min(total, Math.max(BUCKET_ELEMENTS, ...sizes));
	const moments = (2 * FLOAT * total) / (zeroStage > 0 ? processes : 1);
	const optimizer = name === "adamw" ? moments : FLOAT * factored(trained.values());
	const [activations, activationsOtherwise] = [gradientCheckpointing, !gradientCheckpointing].map((checkpointing) =>
		activationBytes(shape, options, checkpointing),
	);
	const peak = RUNTIME_BYTES + weights + optimizer + gradients + update + activations;
	const available = options.memory ?? machineMemory();
	return { runtime: RUNTIME_BYTES, weights, optimizer, gradients, update, activations, activationsOtherwise, peak, available };
}

function activationBytes(shape: ModelShape, options: PlanTrainingOptions, checkpointing: boolean): number {
	const { longestRow, labelledPerRow = longestRow / 5, trainBatchSize = 8, microTrainBatchSize = 1, freeze = [] } = options;
	const rows = Math.min(microTrainBatchSize, Math.ceil(trainBatchSize / (options.processes ?? 1)));
	const pass = shape.pass(batchOf(shape, options, rows, longestRow), { bfloat16: options.dtype === "bfloat16", frozen: frozenBy(freeze) });
	const labelled = rows * labelledPerRow;
	const chunks = Math.max(1, Math.ceil(labelled / CHUNK_ROWS));
	const head = shape.vocabulary * FLOAT * ((LOGITS_HELD * labelled) / chunks + (chunks > 1 ? shape.hiddenSize : 0));
	// In the backward pass a checkpointed layer's intermediates come again, and their gradients beside them.
	return head + (checkpointing ? pass.keptWithCheckpointing + 2 * pass.layer : pass.kept + pass.layer);
}

function batchOf(shape: ModelShape, options: PlanTrainingOptions, rows: number, length: number): BatchShape {
	const { imagesPerRow = 2, tokensPerImage = shape.tokensPerImage(448 * 448) } = options;
	return { rows, tokensPerRow: paddedLength(length), images: rows * imagesPerRow, tokensPerImage };
}

/** Three times the forward pass; four times with gradient checkpointing, which runs it twice. */
function rowFlops(shape: ModelShape, options: PlanTrainingOptions, length: number): number {
	const { gradientCheckpointing = false, labelledPerRow = length / 5, freeze = [] } = options;
	const { flops } = shape.pass(batchOf(shape, options, 1, length), { bfloat16: false, frozen: frozenBy(freeze) });
	return (gradientCheckpointing ? 4 : 3) * flops + 6 * labelledPerRow * shape.vocabulary * shape.hiddenSize;
}

function timeOf({ tokens, flops }: { tokens: number; flops: number }, { tokensPerSecond, flopsPerSecond }: PlanTrainingOptions) {
	if (tokensPerSecond !== undefined)
		return { seconds: tokens / tokensPerSecond, throughput: `${tokensPerSecond.toFixed(0)} tokens/s, as given` };
	if (flopsPerSecond === undefined) return {};
	const seconds = flops / (STEP_EFFICIENCY * flopsPerSecond);
	return {
		seconds,
		throughput: `${(flopsPerSecond / 1e9).toFixed(0)} GFLOP/s in large products, of which a step reaches about ${100 * STEP_EFFICIENCY} %`,
	};
}

function waysToFit(shape: ModelShape, options: PlanTrainingOptions, available: number): TrainingPlan["changes"] {
	const { processes = 1, zeroStage = 0 } = options;
	const sharded: [string, Partial<PlanTrainingOptions>][] =
		processes > 1
			? [1, 2].filter((stage) => stage > zeroStage).map((stage) => [`--zero_stage ${stage}`, { zeroStage: stage as 1 | 2 }])
			: [];
	const whole: typeof sharded = processes > 1 ? [] : [["--optim adafactor", { optimizer: "adafactor" }]]; // it has no moments to shard
	const ways: [string, Partial<PlanTrainingOptions>][] = [
		["--gradient_checkpointing", { gradientCheckpointing: true }],
		["--micro_train_batch_size 1", { microTrainBatchSize: 1 }],
		["--bf16", { dtype: "bfloat16" }],
		...sharded,
		...whole,
		["--freeze vision_tower embeddings", { freeze: [...new Set([...(options.freeze ?? []), "vision_tower", "embeddings"])] }],
	];
	const changes: TrainingPlan["changes"] = [];
	let changed = options;
	let peak = memoryOf(shape, options).peak;
	for (const [change, better] of ways) {
		const next = memoryOf(shape, { ...changed, ...better }).peak;
		if (next >= peak) continue;
		changed = { ...changed, ...better };
		peak = next;
		changes.push({ change, peak });
		if (peak <= available) break;
	}
	return changes;
}

/** A container's limit where there is one. */
function machineMemory(): number {
	const limit = process.constrainedMemory();
	return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Adafactor's second moments: a row and a column of each matrix. */
const factored = (shapes: Iterable<readonly number[]>) =>
	[...shapes].reduce((sum, shape) => {
		if (shape.length < 2) return sum + product(shape);
		const [columns, rows, ...outer] = [...shape].reverse();
		return sum + product(outer) * (columns + rows);
	}, 0);

const product = (shape: readonly number[]) => shape.reduce((total, side) => total * side, 1);
const elements = (shapes: Iterable<readonly number[]>) => [...shapes].reduce((sum, shape) => sum + product(shape), 0);
