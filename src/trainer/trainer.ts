/**
 * Supervised fine-tuning on conversations: one loop that reads top to bottom, in the manner of nanoGPT's train.py.
 *
 * Loss on the assistant's tokens only; AdamW with decoupled decay; warm-up and a schedule; clipping by the global norm; gradients
 * accumulated over micro-batches, normalised by the tokens of the whole batch. Nothing is printed: facts go to `onEvent` and the log
 * files. A micro-step and an optimizer step are graphs (micro-step.ts, adamw.ts). What this version can't do (16-bit master weights) has no option here.
 */
import type { TrainableModel } from "../model/generative-model.js";
import { accumulateGradients, disposeGradients } from "./accumulate-gradients.js";
import { AdamW } from "./adamw.js";
import { clipFactor } from "./clip-grad-norm.js";
import { conversationKey, type DroppedRow, nameRow, type TrainingRow } from "./collate.js";
import { conversationMessages } from "./conversation-messages.js";
import { type LrScheduler, lrSchedule } from "./lr-schedule.js";
import { MetricsLog } from "./metrics-log.js";
import { MicroStep } from "./micro-step.js";
import { loadSteps } from "./step-loader.js";
import { resumeTraining, saveTrainingCheckpoint, type TrainerState } from "./training-checkpoint.js";
import { NonFiniteLossError, type StepRecord, type TrainingEvent, type TrainResult } from "./training-events.js";

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
	/** Part of all steps spent warming up. Default 0.03. */
	warmupRatio?: number;
	/** Steps spent warming up; goes before `warmupRatio`. */
	warmupSteps?: number;
	/** AdamW's. Default [0.9, 0.95]. */
	betas?: readonly [number, number];
	/** AdamW's, on matrices only: norms and biases are not decayed. Default 0.01. */
	weightDecay?: number;
	/** Gradients with a larger global L2 norm are scaled down to it. Default 1. */
	maxGradNorm?: number;
	/** Decides the order of rows. Default 42. */
	seed?: number;
	/** An example with more tokens (prompt, image tokens and answer) is dropped and reported, never cut. Default 13000. */
	promptMaxLen?: number;
	/** Scores the model, e.g. on held-out pairs; called every `evalEvery` steps and after the last. */
	evaluate?: (model: TrainableModel, step: number) => Promise<Record<string, number>>;
	/** Default: after the last step only. */
	evalEvery?: number;
	/** Steps between checkpoints. Default: the final model only. */
	saveSteps?: number;
	/** Checkpoints kept. Default: all. */
	saveTotalLimit?: number;
	/** Receives `metrics.jsonl` and a TensorBoard event file. Default: none is written. */
	logDir?: string;
	/** Steps between lines of metrics. Default 1. */
	loggingSteps?: number;
	/** A `checkpoint-<step>` folder: parameters, optimizer and place in the data are taken from it. */
	resumeFromCheckpoint?: string;
	/** Stops before the next micro-batch: a checkpoint is saved (with a `savePath`), and `fit` throws the signal's reason. */
	signal?: AbortSignal;
	onEvent?: (event: TrainingEvent) => void;
}

/** Fine-tunes one model. The model stays the caller's. */
export class Trainer {
	constructor(
		private readonly model: TrainableModel,
		private readonly options: TrainerOptions = {},
	) {}

	/**
	 * Trains on the rows; their text and image paths are kept in memory, their images are read when they are needed.
	 *
	 * @throws for a row that contradicts itself (before the first step), when no row can be trained on, NonFiniteLossError, or the signal's reason
	 */
	async fit(source: Iterable<TrainingRow> | AsyncIterable<TrainingRow>): Promise<TrainResult> {
		const { model } = this;
		const {
			trainBatchSize = 8,
			microTrainBatchSize = 1,
			gradientCheckpointing = false,
			eager = false,
			maxEpochs = 3,
			maxSteps = Infinity,
			seed = 42,
			promptMaxLen = 13000,
		} = this.options;
		const { learningRate = 2.5e-6, lrScheduler, warmupRatio = 0.03, warmupSteps, maxGradNorm = 1 } = this.options;
		const { evaluate, evalEvery = Infinity, saveSteps = Infinity, loggingSteps = 1, saveTotalLimit = Infinity } = this.options;
		const { savePath, dataRoot, logDir, resumeFromCheckpoint, signal, onEvent = () => {} } = this.options;
		checkCounts({ trainBatchSize, microTrainBatchSize, maxEpochs, maxSteps, evalEvery, saveSteps, saveTotalLimit, loggingSteps });

		const rows = await collectRows(source, dataRoot);
		const stepsPerEpoch = Math.ceil(rows.length / trainBatchSize);
		const totalSteps = Math.min(maxSteps, stepsPerEpoch * maxEpochs);
		const learningRateAt = lrSchedule({ learningRate, totalSteps, scheduler: lrScheduler, warmupRatio, warmupSteps });
		const dropped = new DroppedRows(rows.length, onEvent);
		const log = logDir === undefined ? undefined : await MetricsLog.open(logDir);
		const optimizer = new AdamW(model.namedParameters(), this.options);
		const { buckets } = optimizer;
		const microStep = new MicroStep(model, { buckets, gradientCheckpointing, eager });
		let run: TrainerState = { step: 0, rows: rows.length, trainBatchSize, seed, history: [], evaluations: [] };
		let lastCheckpoint = resumeFromCheckpoint;

		const save = async (folder: string) => {
			lastCheckpoint = await saveTrainingCheckpoint(folder, model, optimizer, run, saveTotalLimit);
			onEvent({ type: "checkpoint", step: run.step, dir: lastCheckpoint });
		};
		try {
			if (resumeFromCheckpoint !== undefined) run = await resumeTraining(resumeFromCheckpoint, model, optimizer, run);
			const firstStep = run.step;
			const started = performance.now();

			for await (const { step, epoch, examples, dropped: lost } of loadSteps(rows, model.processor, {
				...{ trainBatchSize, seed, dataRoot, maxLength: promptMaxLen, firstStep, totalSteps },
			})) {
				const stepStarted = performance.now();
				if (step === firstStep || step % stepsPerEpoch === 0) onEvent({ type: "epoch", epoch, maxEpochs });
				dropped.add(lost);
				if (examples.length > 0) {
					const before = microStep.signatures;
					const micro = { microTrainBatchSize, microStep, buckets, signal };
					const { gradients, loss, gradNorm, nonFinite } = await accumulateGradients(model, examples, micro);
					if (microStep.signatures > before) onEvent({ type: "compiled", signatures: microStep.signatures });
					const lr = learningRateAt(step);
					const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
					if (finite) optimizer.step(gradients, { learningRate: lr, gradientScale: clipFactor(gradNorm, maxGradNorm) });
					disposeGradients(gradients);
					if (!finite) throw new NonFiniteLossError(step + 1, loss, gradNorm, nonFinite.length > 0 ? nonFinite : examples, lastCheckpoint);

					const seconds = (performance.now() - stepStarted) / 1000;
					const tokensPerSecond = examples.reduce((n, { encoded }) => n + encoded.inputIds.length, 0) / seconds;
					const record: StepRecord = { step: step + 1, epoch, loss, learningRate: lr, gradNorm, tokensPerSecond };
					run.history.push(record);
					const secondsPerStep = (performance.now() - started) / 1000 / (step + 1 - firstStep);
					onEvent({ type: "step", totalSteps, etaSeconds: secondsPerStep * (totalSteps - step - 1), ...record });
					if (record.step % loggingSteps === 0) await log?.write(record.step, trainScalars(record));
				}
				run.step = step + 1;

				if (evaluate && (run.step % evalEvery === 0 || run.step === totalSteps)) {
					const scores = await evaluate(model, run.step);
					run.evaluations.push({ step: run.step, scores });
					onEvent({ type: "eval", step: run.step, scores });
					await log?.write(run.step, Object.fromEntries(Object.entries(scores).map(([name, score]) => [`eval/${name}`, score])));
				}
				if (savePath !== undefined && run.step % saveSteps === 0) await save(savePath);
			}
			if (savePath !== undefined) await model.save(savePath);
			const { step: steps, history, evaluations } = run;
			const { signatures } = microStep;
			return { steps, finalLoss: history.at(-1)?.loss ?? Number.NaN, history, evaluations, dropped: dropped.rows(), signatures };
		} catch (error) {
			if (signal?.aborted && savePath !== undefined) await save(savePath);
			throw error;
		} finally {
			microStep.dispose();
			optimizer.dispose();
			await log?.[Symbol.asyncDispose]();
		}
	}
}

/** @throws for an empty source, or a ShareGPT row that contradicts itself, before any training */
async function collectRows(source: Iterable<TrainingRow> | AsyncIterable<TrainingRow>, dataRoot?: string): Promise<TrainingRow[]> {
	const rows: TrainingRow[] = [];
	for await (const row of source) {
		if (typeof row === "object" && "conversations" in row) {
			conversationMessages(row, nameRow({ row: rows.length, key: conversationKey(row) }), dataRoot);
		}
		rows.push(row);
	}
	if (rows.length === 0) throw new Error("Trainer.fit: no rows to train on; expected at least one conversation");
	return rows;
}

/** The rows that were not trained on, each reported once. */
class DroppedRows {
	private readonly byRow = new Map<number, DroppedRow>();

	constructor(
		private readonly total: number,
		private readonly onEvent: (event: TrainingEvent) => void,
	) {}

	/** @throws when no row is left. */
	add(rows: readonly DroppedRow[]): void {
		for (const row of rows) {
			if (this.byRow.has(row.row)) continue;
			this.byRow.set(row.row, row);
			this.onEvent({ type: "dropped", ...row });
		}
		if (this.byRow.size === this.total) {
			const [first] = this.byRow.values();
			throw new Error(
				`Trainer.fit: none of ${this.total} rows can be trained on; the first, ${nameRow(first)}: ${first.reason}, ${first.detail}`,
			);
		}
	}

	rows(): DroppedRow[] {
		return [...this.byRow.values()];
	}
}

function trainScalars({ loss, learningRate, gradNorm, tokensPerSecond }: StepRecord): Record<string, number> {
	return {
		"train/loss": loss,
		"train/learning_rate": learningRate,
		"train/grad_norm": gradNorm,
		"train/tokens_per_second": tokensPerSecond,
	};
}

function checkCounts(options: Record<string, number>): void {
	for (const [name, value] of Object.entries(options)) {
		if (value >= 1 && (Number.isInteger(value) || value === Infinity)) continue;
		throw new RangeError(`Trainer: ${name} is ${value}; expected a whole number, 1 or more`);
	}
}
