/**
 * Supervised fine-tuning on conversations: one loop that reads top to bottom, in the manner of nanoGPT's train.py.
 *
 * Loss on the assistant's tokens only; AdamW or Adafactor with decoupled decay; warm-up and a schedule; clipping by the global norm;
 * gradients accumulated over micro-batches, normalised by the tokens of the whole batch. Nothing is printed: facts go to `onEvent` and the
 * log files. A micro-step and an optimizer step are graphs (micro-step.ts, adamw.ts). What this version can't do (16-bit master weights) has no
 * option here.
 */
import type { TrainableModel } from "../model/generative-model.js";
import { accumulateGradients, disposeGradients } from "./accumulate-gradients.js";
import { clipFactor } from "./clip-grad-norm.js";
import { conversationKey, nameRow, type TrainingExample, type TrainingRow } from "./collate.js";
import { conversationMessages } from "./conversation-messages.js";
import { DroppedRows } from "./dropped-rows.js";
import { findCheckpoint } from "./find-checkpoint.js";
import { holdFrozen, trainableParameters } from "./freeze.js";
import { type LrScheduleOptions, lrSchedule } from "./lr-schedule.js";
import { makeOptimizer } from "./make-optimizer.js";
import { MetricsLog } from "./metrics-log.js";
import { MicroStep } from "./micro-step.js";
import { identify } from "./run-identity.js";
import { loadSteps, measureLengths } from "./step-loader.js";
import { stepSeed } from "./step-seed.js";
import type { TrainerOptions } from "./trainer-options.js";
import { checkpointFolder, readTrainerState, restoreTraining, saveTrainingCheckpoint, type TrainerState } from "./training-checkpoint.js";
import { type EvaluationRecord, NonFiniteLossError, type StepRecord, type TrainResult } from "./training-events.js";

export type { TrainerOptions } from "./trainer-options.js";

/** Fine-tunes one model. The model stays the caller's. */
export class Trainer {
	constructor(
		private readonly model: TrainableModel,
		private readonly options: TrainerOptions = {},
	) {}

	/**
	 * Trains on the rows; their text and image paths are kept in memory, their images are read when they are needed.
	 *
	 * @throws for a row that contradicts itself (before the first step), when no row can be trained on, for a checkpoint that is damaged or another
	 *   run's, NonFiniteLossError, or the signal's reason; where the checkpoint that an aborted signal asks for can't be saved, why not
	 */
	async fit(source: Iterable<TrainingRow> | AsyncIterable<TrainingRow>): Promise<TrainResult> {
		const { model } = this;
		const { trainBatchSize = 8, microTrainBatchSize = 1, gradientCheckpointing = false, eager = false } = this.options;
		const { maxEpochs = 3, maxSteps = Infinity, seed = 42, promptMaxLen = 13000, maxGradNorm = 1 } = this.options;
		const { optimizer: optimizerName = "adamw", weightDecay = 0.01, betas = [0.9, 0.95], freeze = [] } = this.options;
		const { labelSmoothing = 0, neftuneNoiseAlpha = 0, groupByLength = false, packing = false, packLength } = this.options;
		const { evaluate, evalEvery = Infinity, bestMetric, greaterIsBetter = true } = this.options;
		const { saveSteps = Infinity, loggingSteps = 1, saveTotalLimit = Infinity } = this.options;
		const { savePath, dataRoot, logDir, resumeFromCheckpoint, signal, onEvent = () => {} } = this.options;
		checkCounts({ trainBatchSize, microTrainBatchSize, maxEpochs, maxSteps, evalEvery, saveSteps, saveTotalLimit, loggingSteps });
		checkShares({ labelSmoothing, minLrRatio: this.options.minLrRatio ?? 0 });

		const rows = await collectRows(source, dataRoot);
		const stepsPerEpoch = Math.ceil(rows.length / trainBatchSize);
		const totalSteps = Math.min(maxSteps, stepsPerEpoch * maxEpochs);
		const schedule = resolveSchedule(this.options, totalSteps);
		const learningRateAt = lrSchedule(schedule);
		const { totalSteps: _, ...unending } = schedule; // a constant rate does not depend on the end
		const identity = identify(rows, {
			...(schedule.scheduler === "constant" ? unending : schedule),
			...{ seed, trainBatchSize, promptMaxLen, groupByLength, maxGradNorm, weightDecay, labelSmoothing, neftuneNoiseAlpha },
			...{ optimizer: optimizerName, betas: optimizerName === "adamw" ? [...betas] : null, freeze: [...freeze] },
		});
		const lengths = groupByLength ? await measureLengths(rows, model.processor, { dataRoot, maxLength: promptMaxLen }, signal) : undefined;
		const dropped = new DroppedRows(rows.length, (row) => onEvent({ type: "dropped", ...row }));
		const parameters = trainableParameters(model.namedParameters(), freeze);
		const thaw = holdFrozen(model.namedParameters(), parameters);
		const optimizer = makeOptimizer(optimizerName, parameters, { betas, weightDecay, eager });
		const { buckets } = optimizer;
		const microStep = new MicroStep(model, { buckets, gradientCheckpointing, labelSmoothing, eager });
		let run: TrainerState = { step: 0, identity, history: [], evaluations: [] };
		let lastCheckpoint: string | undefined;
		let log: MetricsLog | undefined;

		const best = () => bestOf(run.evaluations, bestMetric, greaterIsBetter);
		const save = async (folder: string) => {
			if (lastCheckpoint === checkpointFolder(folder, run.step)) return; // this step's is there already
			const kept = { keep: saveTotalLimit, best: best()?.step };
			lastCheckpoint = await saveTrainingCheckpoint(folder, { model, parameters, optimizer }, run, kept);
			onEvent({ type: "checkpoint", step: run.step, dir: lastCheckpoint });
		};
		try {
			if (resumeFromCheckpoint !== undefined) {
				lastCheckpoint = await findCheckpoint(resumeFromCheckpoint, (damaged) => onEvent({ type: "damaged-checkpoint", ...damaged }));
				run = await readTrainerState(lastCheckpoint, identity);
				await restoreTraining(lastCheckpoint, { parameters, optimizer });
			}
			if (logDir !== undefined) log = await MetricsLog.open(logDir, resumeFromCheckpoint === undefined ? undefined : run.step);
			const firstStep = run.step;
			const started = performance.now();

			for await (const { step, epoch, examples, dropped: lost } of loadSteps(rows, model.processor, {
				...{ trainBatchSize, seed, dataRoot, maxLength: promptMaxLen, lengths, firstStep, totalSteps },
			})) {
				const stepStarted = performance.now();
				if (step === firstStep || step % stepsPerEpoch === 0) onEvent({ type: "epoch", epoch, maxEpochs });
				dropped.add(lost);
				if (examples.length > 0) {
					const before = microStep.signatures;
					const { gradients, loss, gradNorm, nonFinite, tokens, positions } = await accumulateGradients(model, examples, {
						...{ microTrainBatchSize, microStep, buckets, signal },
						packing: packing ? { maxTokens: packLength } : undefined,
						embeddingNoise:
							neftuneNoiseAlpha > 0
								? { alpha: neftuneNoiseAlpha, seedOf: (example: TrainingExample) => stepSeed(seed, step, example.row) }
								: undefined,
					});
					if (microStep.signatures > before) onEvent({ type: "compiled", signatures: microStep.signatures });
					const lr = learningRateAt(step);
					const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
					if (finite) optimizer.step(gradients, { learningRate: lr, gradientScale: clipFactor(gradNorm, maxGradNorm) });
					disposeGradients(gradients);
					if (!finite) throw new NonFiniteLossError(step + 1, loss, gradNorm, nonFinite.length > 0 ? nonFinite : examples, lastCheckpoint);

					const tokensPerSecond = (1000 * tokens) / (performance.now() - stepStarted);
					const padding = 1 - tokens / positions;
					const record: StepRecord = { step: step + 1, epoch, loss, learningRate: lr, gradNorm, tokensPerSecond, tokens, padding };
					run.history.push(record);
					const secondsPerStep = (performance.now() - started) / 1000 / (step + 1 - firstStep);
					const etaSeconds = secondsPerStep * (totalSteps - step - 1);
					onEvent({ type: "step", totalSteps, etaSeconds, rows: examples.map(({ row }) => row), ...record });
					if (record.step % loggingSteps === 0) await log?.write(record.step, trainScalars(record));
				}
				run.step = step + 1;

				if (evaluate && (run.step % evalEvery === 0 || run.step === totalSteps)) {
					const scores = await evaluate(model, run.step);
					run.evaluations.push({ step: run.step, scores });
					onEvent({ type: "eval", step: run.step, scores });
					await log?.write(run.step, Object.fromEntries(Object.entries(scores).map(([name, score]) => [`eval/${name}`, score])));
					if (savePath !== undefined && best()?.step === run.step) await save(savePath);
				}
				if (savePath !== undefined && run.step % saveSteps === 0) await save(savePath);
			}
			if (savePath !== undefined) await model.save(savePath);
			return summarize(run, best(), { savePath, dropped: dropped.rows(), signatures: microStep.signatures });
		} catch (error) {
			if (signal?.aborted && savePath !== undefined) await save(savePath);
			throw error;
		} finally {
			microStep.dispose();
			optimizer.dispose();
			thaw();
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

/** With numbers of steps for every share of them. */
function resolveSchedule(options: TrainerOptions, totalSteps: number) {
	const { learningRate = 2.5e-6, lrScheduler: scheduler = "cosine", warmupRatio = 0.03, minLrRatio, lrDecayRatio = 0.1 } = options;
	const { warmupSteps = Math.ceil(warmupRatio * totalSteps), lrDecaySteps = Math.ceil(lrDecayRatio * totalSteps) } = options;
	return {
		...{ learningRate, totalSteps, scheduler, warmupSteps },
		...(minLrRatio !== undefined && { minLrRatio }),
		...(scheduler === "warmup_stable_decay" && { decaySteps: lrDecaySteps }),
	} satisfies LrScheduleOptions;
}

/** The earliest of the best. @throws where an evaluation has no such score */
function bestOf(evaluations: readonly EvaluationRecord[], metric: string | undefined, greaterIsBetter: boolean) {
	let best: { step: number; score: number } | undefined;
	if (metric === undefined) return best;
	for (const { step, scores } of evaluations) {
		const score = scores[metric];
		if (score === undefined) {
			throw new Error(`bestMetric: ${metric} is not among the evaluation's scores, which are ${Object.keys(scores).join(", ")}`);
		}
		if (!best || (greaterIsBetter ? score > best.score : score < best.score)) best = { step, score };
	}
	return best;
}

function summarize(
	{ step: steps, history, evaluations }: TrainerState,
	best: { step: number; score: number } | undefined,
	{ savePath, ...rest }: Pick<TrainResult, "dropped" | "signatures"> & { savePath?: string },
): TrainResult {
	const dir = best && savePath !== undefined ? { dir: checkpointFolder(savePath, best.step) } : {};
	const tokens = history.reduce((sum, record) => sum + record.tokens, 0);
	const positions = history.reduce((sum, record) => sum + record.tokens / (1 - record.padding), 0);
	return {
		...{ steps, finalLoss: history.at(-1)?.loss ?? Number.NaN, history, evaluations },
		...(best && { best: { ...best, ...dir } }),
		...{ padding: positions === 0 ? 0 : 1 - tokens / positions, ...rest },
	};
}

function trainScalars({ loss, learningRate, gradNorm, tokensPerSecond, padding }: StepRecord): Record<string, number> {
	return {
		"train/loss": loss,
		"train/learning_rate": learningRate,
		"train/grad_norm": gradNorm,
		"train/tokens_per_second": tokensPerSecond,
		"train/padding": padding,
	};
}

function checkCounts(options: Record<string, number>): void {
	for (const [name, value] of Object.entries(options)) {
		if (value >= 1 && (Number.isInteger(value) || value === Infinity)) continue;
		throw new RangeError(`Trainer: ${name} is ${value}; expected a whole number, 1 or more`);
	}
}

function checkShares(options: Record<string, number>): void {
	for (const [name, value] of Object.entries(options)) {
		if (value >= 0 && value < 1) continue;
		throw new RangeError(`Trainer: ${name} is ${value}; expected a number from 0 to below 1`);
	}
}
