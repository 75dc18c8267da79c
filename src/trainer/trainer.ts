/**
 * Fine-tuning: one loop that reads top to bottom, in the manner of nanoGPT's train.py.
 *
 * What is learned is an objective (objective.ts); AdamW or Adafactor with decoupled decay; warm-up and a schedule; clipping by the global norm;
 * gradients accumulated over micro-batches, normalised over the whole batch. Nothing is printed: facts go to `onEvent` and the
 * log files. A micro-step and an optimizer step are graphs (micro-step.ts, adamw.ts). What this version can't do (16-bit master weights) has no
 * option here.
 */
import { StoppedElsewhereError, stopTogether } from "../backend/cluster/stop-together.js";
import { WorkerLostError } from "../backend/cluster/watch-workers.js";
import type { TrainableModel } from "../model/generative-model.js";
import { type AccumulatedGradients, type AccumulateOptions, accumulateGradients, disposeGradients } from "./accumulate-gradients.js";
import { clipFactor } from "./clip-grad-norm.js";
import { conversationKey, nameRow, type TrainingRow } from "./collate.js";
import { Dpo } from "./dpo.js";
import { DroppedRows } from "./dropped-rows.js";
import { allStopEarly } from "./early-stopping.js";
import { Evaluator } from "./evaluator.js";
import { findCheckpoint } from "./find-checkpoint.js";
import { holdFrozen, trainableParameters } from "./freeze.js";
import { ALONE, agree, firstSays, type GradientExchange } from "./gradient-exchange.js";
import { lrSchedule } from "./lr-schedule.js";
import { makeOptimizer } from "./make-optimizer.js";
import { MetricsLog } from "./metrics-log.js";
import { MicroStep } from "./micro-step.js";
import type { Objective } from "./objective.js";
import type { Optimizer } from "./optimizer-state.js";
import { identify } from "./run-identity.js";
import { exchangeWith } from "./sharding/exchange-with.js";
import { type EncodeRow, loadSteps, measureLengths, type StepLoaderOptions } from "./step-loader.js";
import { StepMeter } from "./step-meter.js";
import { stepSeed } from "./step-seed.js";
import { Supervised } from "./supervised.js";
import { decisiveOptions, type ResolvedOptions, resolveOptions, resolveSchedule, type TrainerOptions } from "./trainer-options.js";
import { checkpointFolder, readTrainerState, restoreTraining, type TrainerState, writeCheckpoint } from "./training-checkpoint.js";
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
		const { trainBatchSize, microTrainBatchSize, maxEpochs, eager, seed, freeze } = options;
		const { evalEvery, saveSteps, saveTotalLimit, loggingSteps, onEvent } = options;
		const { savePath, dataRoot, logDir, resumeFromCheckpoint, signal } = options;
		const objective: Objective = options.dpo ? new Dpo(options.dpo) : new Supervised(options);

		const rows = await collectRows(source, objective, dataRoot);
		const stepsPerEpoch = Math.ceil(rows.length / trainBatchSize);
		const totalSteps = Math.min(options.maxSteps, stepsPerEpoch * maxEpochs);
		const schedule = resolveSchedule(options, totalSteps);
		const learningRateAt = lrSchedule(schedule);
		const identity = identify(rows, decisiveOptions(options, schedule, model.adapter));
		const encode: EncodeRow = (row) => objective.encode(rows[row], row, model.processor, { dataRoot, maxLength: options.promptMaxLen });
		const workers = options.workers ?? ALONE;
		await agree(workers, "rows and options", [identity, ...exchangedOptions(options)]);
		const lengths = options.groupByLength ? await measureLengths(encode, rows.length, workers, signal) : undefined;
		const load = (which: Pick<StepLoaderOptions, "firstStep" | "totalSteps">) =>
			loadSteps(encode, { rows: rows.length, trainBatchSize, seed, lengths, share: workers, ...which });
		const dropped = new DroppedRows(rows.length, (row) => onEvent({ type: "dropped", ...row }));
		const parameters = trainableParameters(model.namedParameters(), freeze);
		const thaw = holdFrozen(model.namedParameters(), parameters);
		const optimizer = makeOptimizer(options.optimizer, parameters, options);
		const { buckets } = optimizer;
		const exchange = exchangeWith(options.workers, buckets, options.zeroStage);
		const writes = workers.rank === 0;
		const microStep = new MicroStep(model, { ...options, objective, buckets, scatter: exchange.scatter });
		let run: TrainerState = { step: 0, identity, history: [], evaluations: [] };
		let lastCheckpoint: string | undefined;
		let log: MetricsLog | undefined;
		let evaluator: Evaluator | undefined;

		const best = () => bestOf(run.evaluations, options.bestMetric, options.greaterIsBetter);
		const save = async (folder: string) => {
			if (lastCheckpoint === checkpointFolder(folder, run.step)) return; // this step's is there already
			const kept = { keep: saveTotalLimit, best: best()?.step };
			lastCheckpoint = checkpointFolder(folder, run.step);
			if (!(await writeCheckpoint(folder, { model, parameters, optimizer, objective }, run, kept, writes))) return;
			onEvent({ type: "checkpoint", step: run.step, dir: lastCheckpoint });
		};
		const evaluateWhenDue = async () => {
			const due = run.step % evalEvery === 0 || run.step === totalSteps;
			const asked = evaluator;
			if (!asked || !due || run.evaluations.some(({ step }) => step === run.step)) return;
			const evaluated = await stopTogether(workers, signal, () => asked.run(run.step));
			run.evaluations.push({ step: run.step, scores: evaluated.scores });
			onEvent({ type: "eval", step: run.step, ...evaluated });
			await log?.write(run.step, evaluationScalars(evaluated));
			await log?.judgements(run.step, evaluated.judgements);
			if (savePath !== undefined && (await firstSays(workers, best()?.step === run.step))) await save(savePath);
		};
		const stopsEarly = () => allStopEarly(workers, run.evaluations, options);
		try {
			if (resumeFromCheckpoint !== undefined) {
				lastCheckpoint = await findCheckpoint(resumeFromCheckpoint, (damaged) => onEvent({ type: "damaged-checkpoint", ...damaged }));
				run = await readTrainerState(lastCheckpoint, identity);
				await restoreTraining(lastCheckpoint, { parameters, optimizer, ...(run.step > 0 && { objective }) });
			}
			await agree(workers, "checkpoint to go on from", run.step);
			await exchange.shareParameters();
			evaluator = await Evaluator.open(model, options);
			if (run.step === 0) {
				const steps = load({ firstStep: 0, totalSteps: stepsPerEpoch });
				await objective.begin?.(model, { rows: rows.length, steps, microTrainBatchSize, eager, workers, signal, onEvent });
			}
			if (logDir !== undefined && writes) log = await MetricsLog.open(logDir, resumeFromCheckpoint === undefined ? undefined : run.step);
			const firstStep = run.step;
			const started = performance.now();
			if (firstStep > 0) await evaluateWhenDue(); // a run that was stopped in an evaluation has it to make up for

			// A run that had stopped early and is resumed has no step left.
			const lastStep = (await stopsEarly()) ? firstStep : totalSteps;
			for await (const { step, epoch, examples, dropped: lost } of load({ firstStep, totalSteps: lastStep })) {
				const meter = new StepMeter();
				if (step === firstStep || step % stepsPerEpoch === 0) onEvent({ type: "epoch", epoch, maxEpochs });
				dropped.add(lost);
				const graphs = microStep.signatures;
				const sums = await accumulateGradients(model, examples, {
					...{ microTrainBatchSize, microStep, buckets, signal, exchange, ...waysOf(options, step) },
				});
				if (microStep.signatures > graphs) onEvent({ type: "compiled", signatures: microStep.signatures });
				if (sums.tokens > 0) {
					const learningRate = learningRateAt(step);
					if (!(await update(optimizer, sums, { learningRate, maxGradNorm: options.maxGradNorm }))) {
						const { loss, gradNorm, nonFinite } = sums;
						throw new NonFiniteLossError(step + 1, loss, gradNorm, nonFinite.length > 0 ? nonFinite : examples, lastCheckpoint);
					}
					const cost = meter.read(sums.samples);
					const record: StepRecord = { step: step + 1, epoch, learningRate, ...measured(sums, cost.seconds) };
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
			if (savePath !== undefined && isStop(error, signal, exchange)) await save(savePath);
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

/** What decides when processes exchange anything, beside the run's identity: all must do so at the same steps. */
function exchangedOptions(options: ResolvedOptions): unknown[] {
	const { zeroStage, saveSteps, savePath, evalEvery, evaluate, evalDataset } = options;
	const { bestMetric, greaterIsBetter, earlyStoppingPatience, earlyStoppingThreshold } = options;
	const asked = [savePath, evaluate, evalDataset].map((option) => option !== undefined);
	return [zeroStage, saveSteps, evalEvery, ...asked, bestMetric, greaterIsBetter, earlyStoppingPatience, earlyStoppingThreshold];
}

/**
 * Whether the last whole step is to be saved: this process or another was told to stop, or another is lost. Where the state is in shards all save it
 * together: not after an error of one alone, and not when one is lost.
 */
function isStop(error: unknown, signal: AbortSignal | undefined, { sharded }: GradientExchange): boolean {
	if (error instanceof StoppedElsewhereError) return true;
	if (sharded) return signal?.aborted === true && error === signal.reason;
	return error instanceof WorkerLostError || signal?.aborted === true;
}

/** @throws for an empty source, or a ShareGPT row that contradicts itself, before any training */
async function collectRows(
	source: Iterable<TrainingRow> | AsyncIterable<TrainingRow>,
	objective: Objective,
	dataRoot?: string,
): Promise<TrainingRow[]> {
	const rows: TrainingRow[] = [];
	for await (const row of source) {
		objective.check(row, nameRow({ row: rows.length, key: typeof row === "object" ? conversationKey(row) : undefined }), dataRoot);
		rows.push(row);
	}
	if (rows.length === 0) throw new Error("Trainer.fit: no rows to train on; expected at least one conversation");
	return rows;
}

/** How a step's rows are put together, and what is drawn for them. */
function waysOf(
	{ packing, packLength, neftuneNoiseAlpha: alpha, seed }: ResolvedOptions,
	step: number,
): Pick<AccumulateOptions, "packing" | "embeddingNoise" | "dropoutSeedOf"> {
	return {
		...(packing && { packing: { maxTokens: packLength } }),
		...(alpha > 0 && { embeddingNoise: { alpha, seedOf: ({ row }) => stepSeed(seed, step, row) } }),
		dropoutSeedOf: ({ row }) => stepSeed(seed ^ DROPOUT, step, row),
	};
}

/** The optimizer's step, where loss and gradients are finite; the gradients are disposed. @returns whether they are */
async function update(
	optimizer: Optimizer,
	{ gradients, loss, gradNorm }: AccumulatedGradients,
	{ learningRate, maxGradNorm }: { learningRate: number; maxGradNorm: number },
): Promise<boolean> {
	const finite = Number.isFinite(loss) && Number.isFinite(gradNorm);
	if (finite) await optimizer.step(gradients, { learningRate, gradientScale: clipFactor(gradNorm, maxGradNorm) });
	disposeGradients(gradients);
	return finite;
}

/** What a step's record says of its sums. */
function measured({ loss, metrics, gradNorm, tokens, positions }: AccumulatedGradients, seconds: number) {
	const others = Object.keys(metrics).length > 0 && { metrics };
	return { loss, ...others, gradNorm, tokens, tokensPerSecond: tokens / seconds, padding: 1 - tokens / positions };
}

/** The earliest of the best; none where no evaluation has such a score. */
function bestOf(evaluations: readonly EvaluationRecord[], metric: string | undefined, greaterIsBetter: boolean) {
	let best: { step: number; score: number } | undefined;
	if (metric === undefined) return best;
	for (const { step, scores } of evaluations) {
		const score = scores[metric];
		if (score === undefined) continue; // no number, and so left out
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
