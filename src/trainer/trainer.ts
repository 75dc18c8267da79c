/**
 * Supervised fine-tuning on conversations: one loop that reads top to bottom, in the manner of nanoGPT's train.py.
 *
 * Loss on the assistant's tokens only; AdamW or Adafactor with decoupled decay; warm-up and a schedule; clipping by the global norm;
 * gradients accumulated over micro-batches, normalised by the tokens of the whole batch. Nothing is printed: facts go to `onEvent` and the
 * log files. A micro-step and an optimizer step are graphs (micro-step.ts, adamw.ts). What this version can't do (16-bit master weights) has no
 * option here.
 */
import { WorkerLostError } from "../backend/cluster/watch-workers.js";
import type { TrainableModel } from "../model/generative-model.js";
import { type AccumulateOptions, accumulateGradients, disposeGradients, StoppedElsewhereError } from "./accumulate-gradients.js";
import { clipFactor } from "./clip-grad-norm.js";
import { conversationKey, nameRow, type TrainingRow } from "./collate.js";
import { conversationMessages } from "./conversation-messages.js";
import { DroppedRows } from "./dropped-rows.js";
import { isExhausted } from "./early-stopping.js";
import { Evaluator } from "./evaluator.js";
import { findCheckpoint } from "./find-checkpoint.js";
import { holdFrozen, trainableParameters } from "./freeze.js";
import { ALONE, agree, exchangeWith } from "./gradient-exchange.js";
import { lrSchedule } from "./lr-schedule.js";
import { makeOptimizer } from "./make-optimizer.js";
import { MetricsLog } from "./metrics-log.js";
import { MicroStep } from "./micro-step.js";
import { identify } from "./run-identity.js";
import { loadSteps, measureLengths } from "./step-loader.js";
import { StepMeter } from "./step-meter.js";
import { stepSeed } from "./step-seed.js";
import { decisiveOptions, resolveOptions, resolveSchedule, type TrainerOptions } from "./trainer-options.js";
import { checkpointFolder, readTrainerState, restoreTraining, saveTrainingCheckpoint, type TrainerState } from "./training-checkpoint.js";
import { type EvaluationRecord, NonFiniteLossError, type StepRecord, type TrainResult } from "./training-events.js";
import { evaluationScalars, stepScalars } from "./training-scalars.js";

export type { TrainerOptions } from "./trainer-options.js";

/** Sets dropout's draws apart from the embedding noise's. */
const DROPOUT = 0x5bd1e995;

/** Fine-tunes one model: all of it, or its adapter. The model stays the caller's. */
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
		const options = resolveOptions(this.options);
		const { trainBatchSize, microTrainBatchSize, gradientCheckpointing, eager, maxEpochs, seed, promptMaxLen } = options;
		const { optimizer: optimizerName, betas, weightDecay, maxGradNorm, freeze, labelSmoothing, neftuneNoiseAlpha } = options;
		const { evalEvery, saveSteps, saveTotalLimit, loggingSteps, onEvent } = options;
		const { savePath, dataRoot, logDir, resumeFromCheckpoint, signal } = options;

		const rows = await collectRows(source, dataRoot);
		const stepsPerEpoch = Math.ceil(rows.length / trainBatchSize);
		const totalSteps = Math.min(options.maxSteps, stepsPerEpoch * maxEpochs);
		const schedule = resolveSchedule(options, totalSteps);
		const learningRateAt = lrSchedule(schedule);
		const identity = identify(rows, decisiveOptions(options, schedule, model.adapter));
		const encoding = { dataRoot, maxLength: promptMaxLen };
		const workers = options.workers ?? ALONE;
		await agree(workers, "rows and options", identity);
		const lengths = options.groupByLength ? await measureLengths(rows, model.processor, encoding, workers, signal) : undefined;
		const packing = options.packing ? { maxTokens: options.packLength } : undefined;
		const dropped = new DroppedRows(rows.length, (row) => onEvent({ type: "dropped", ...row }));
		const parameters = trainableParameters(model.namedParameters(), freeze);
		const thaw = holdFrozen(model.namedParameters(), parameters);
		const optimizer = makeOptimizer(optimizerName, parameters, { betas, weightDecay, eager });
		const { buckets } = optimizer;
		const exchange = exchangeWith(options.workers, buckets);
		const writes = workers.rank === 0;
		const microStep = new MicroStep(model, { buckets, gradientCheckpointing, labelSmoothing, eager });
		let run: TrainerState = { step: 0, identity, history: [], evaluations: [] };
		let lastCheckpoint: string | undefined;
		let log: MetricsLog | undefined;
		let evaluator: Evaluator | undefined;

		const best = () => bestOf(run.evaluations, options.bestMetric, options.greaterIsBetter);
		const save = async (folder: string) => {
			if (lastCheckpoint === checkpointFolder(folder, run.step)) return; // this step's is there already
			const kept = { keep: saveTotalLimit, best: best()?.step };
			lastCheckpoint = checkpointFolder(folder, run.step);
			if (!writes) return;
			await saveTrainingCheckpoint(folder, { model, parameters, optimizer }, run, kept);
			onEvent({ type: "checkpoint", step: run.step, dir: lastCheckpoint });
		};
		const evaluateWhenDue = async () => {
			const due = run.step % evalEvery === 0 || run.step === totalSteps;
			if (!evaluator || !due || run.evaluations.some(({ step }) => step === run.step)) return;
			const { scores, judgements, seconds } = await evaluator.run(run.step);
			run.evaluations.push({ step: run.step, scores });
			onEvent({ type: "eval", step: run.step, scores, judgements, seconds });
			await log?.write(run.step, evaluationScalars(scores, seconds));
			await log?.judgements(run.step, judgements);
			if (savePath !== undefined && best()?.step === run.step) await save(savePath);
		};
		/** In all processes alike: where one has had enough, whose evaluation may differ in a bit. */
		const stopsEarly = async () => {
			const { bestMetric: metric, earlyStoppingPatience: patience, earlyStoppingThreshold: threshold, greaterIsBetter } = options;
			if (metric === undefined || patience === Number.POSITIVE_INFINITY) return false;
			const enough = isExhausted(run.evaluations, { metric, greaterIsBetter, patience, threshold });
			const [processes] = await workers.sum([enough ? 1 : 0]);
			return processes > 0;
		};
		try {
			if (resumeFromCheckpoint !== undefined) {
				lastCheckpoint = await findCheckpoint(resumeFromCheckpoint, (damaged) => onEvent({ type: "damaged-checkpoint", ...damaged }));
				run = await readTrainerState(lastCheckpoint, identity);
				await restoreTraining(lastCheckpoint, { parameters, optimizer });
			}
			await agree(workers, "checkpoint to go on from", run.step);
			await exchange.shareParameters();
			evaluator = await Evaluator.open(model, options);
			if (logDir !== undefined && writes) log = await MetricsLog.open(logDir, resumeFromCheckpoint === undefined ? undefined : run.step);
			const firstStep = run.step;
			const started = performance.now();
			if (firstStep > 0) await evaluateWhenDue(); // a run that was stopped in an evaluation has it to make up for

			// A run that had stopped early and is resumed has no step left.
			const lastStep = (await stopsEarly()) ? firstStep : totalSteps;
			for await (const { step, epoch, examples, dropped: lost } of loadSteps(rows, model.processor, {
				...{ ...encoding, trainBatchSize, seed, lengths, firstStep, totalSteps: lastStep, share: workers },
			})) {
				const meter = new StepMeter();
				if (step === firstStep || step % stepsPerEpoch === 0) onEvent({ type: "epoch", epoch, maxEpochs });
				dropped.add(lost);
				const graphs = microStep.signatures;
				const { gradients, loss, gradNorm, nonFinite, samples, tokens, positions } = await accumulateGradients(model, examples, {
					...{ microTrainBatchSize, microStep, buckets, packing, signal, exchange },
					embeddingNoise: noiseOf(neftuneNoiseAlpha, seed, step),
					dropoutSeedOf: ({ row }) => stepSeed(seed ^ DROPOUT, step, row),
				});
				if (microStep.signatures > graphs) onEvent({ type: "compiled", signatures: microStep.signatures });
				if (tokens > 0) {
					const lr = learningRateAt(step);
					const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
					if (finite) optimizer.step(gradients, { learningRate: lr, gradientScale: clipFactor(gradNorm, maxGradNorm) });
					disposeGradients(gradients);
					if (!finite) throw new NonFiniteLossError(step + 1, loss, gradNorm, nonFinite.length > 0 ? nonFinite : examples, lastCheckpoint);

					const cost = meter.read(samples);
					const tokensPerSecond = tokens / cost.seconds;
					const padding = 1 - tokens / positions;
					const record: StepRecord = { step: step + 1, epoch, loss, learningRate: lr, gradNorm, tokensPerSecond, tokens, padding };
					run.history.push(record);
					const secondsPerStep = (performance.now() - started) / 1000 / (step + 1 - firstStep);
					const etaSeconds = secondsPerStep * (totalSteps - step - 1);
					onEvent({ type: "step", totalSteps, etaSeconds, rows: examples.map(({ row }) => row), ...record, ...cost });
					if (record.step % loggingSteps === 0) await log?.write(record.step, stepScalars(record, cost));
				}
				run.step = step + 1;
				await evaluateWhenDue();
				if (savePath !== undefined && run.step % saveSteps === 0) await save(savePath);
				if (!(await stopsEarly())) continue;
				onEvent({ type: "early-stop", step: run.step });
				break;
			}
			if (savePath !== undefined && writes) await model.save(savePath);
			return summarize(run, best(), { savePath, dropped: dropped.rows(), signatures: microStep.signatures });
		} catch (error) {
			if ((signal?.aborted || isStop(error)) && savePath !== undefined) await save(savePath);
			throw error;
		} finally {
			exchange.dispose();
			microStep.dispose();
			optimizer.dispose();
			evaluator?.dispose();
			thaw();
			await log?.[Symbol.asyncDispose]();
		}
	}
}

/** Other processes ended, between two updates: what is here is whole. */
function isStop(error: unknown): boolean {
	return error instanceof StoppedElsewhereError || error instanceof WorkerLostError;
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

function noiseOf(alpha: number, seed: number, step: number): AccumulateOptions["embeddingNoise"] {
	return alpha > 0 ? { alpha, seedOf: ({ row }) => stepSeed(seed, step, row) } : undefined;
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
