/** `train`: supervised fine-tuning on conversations, or DPO on pairs. */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import {
	joinWorkers,
	readConversations,
	readPreferencePairs,
	type TrainableModel,
	Trainer,
	type TrainerOptions,
	type TrainingRow,
	type TrainResult,
	type WorkerGroup,
	type ZeroStage,
} from "../index.js";
import { defineCommand } from "./define-command.js";
import { dryRun } from "./dry-run.js";
import { refuseEngineFlags } from "./engines/check-engine-flags.js";
import { handOver } from "./engines/hand-over.js";
import { scoreWhileTraining } from "./held-out.js";
import { interruptedWith } from "./interrupt.js";
import { endWithLauncher, launchWorkers } from "./launch-workers.js";
import { openJudge } from "./open-judge.js";
import { type TrainingFlags, type TrainOptions, trainOptions } from "./options.js";
import { claimOutputs, clearOutputs } from "./outputs.js";
import { dpoOptions } from "./preference-flags.js";
import { chooseQuestion, keepQuestion } from "./question.js";
import { dataFiles, surveyHeldOut } from "./records.js";
import { quietSession, type Session } from "./session.js";

const DROPPED_SHOWN = 5;
const GO_ON = "Go on with --resume_from_checkpoint auto, with as many processes as you like";

/** What `train` and `run` decide themselves; the rest of the trainer's options are flags. */
type FineTuneOptions = Pick<
	TrainerOptions,
	"dataRoot" | "logDir" | "evaluate" | "evalDataset" | "resumeFromCheckpoint" | "workers" | "zeroStage" | "dpo"
> & {
	savePath: string;
	/** Goes into every checkpoint. */
	question: string | undefined;
};

/** @throws Interrupted after a signal, naming the checkpoint to go on from; otherwise as Trainer.fit does. */
export async function fineTune(
	model: TrainableModel,
	files: readonly string[],
	flags: TrainingFlags,
	{ question, ...options }: FineTuneOptions,
	session: Session,
): Promise<TrainResult> {
	const { signal, note } = session;
	const stage = session.stage("train");
	let [checkpoint, dropped] = [options.resumeFromCheckpoint ?? "", 0];
	const trainer = new Trainer(model, {
		...options,
		...{
			trainBatchSize: flags.train_batch_size,
			microTrainBatchSize: flags.micro_train_batch_size,
			gradientCheckpointing: flags.gradient_checkpointing,
			eager: flags.eager,
			promptMaxLen: flags.prompt_max_len,
			groupByLength: flags.group_by_length,
			packing: flags.packing,
			packLength: flags.pack_length,
		},
		...{ maxEpochs: flags.max_epochs, maxSteps: flags.max_steps, learningRate: flags.actor_learning_rate, lrScheduler: flags.lr_scheduler },
		...{ warmupRatio: flags.lr_warmup_ratio, warmupSteps: flags.lr_warmup_steps, minLrRatio: flags.min_lr_ratio },
		...{ lrDecayRatio: flags.lr_decay_ratio, lrDecaySteps: flags.lr_decay_steps },
		...{ optimizer: flags.optim, weightDecay: flags.l2, betas: flags.adam_betas, freeze: flags.freeze },
		...{ labelSmoothing: flags.label_smoothing_factor, neftuneNoiseAlpha: flags.neftune_noise_alpha },
		...{ bestMetric: flags.metric_for_best_model, greaterIsBetter: flags.greater_is_better },
		...{ earlyStoppingPatience: flags.early_stopping_patience, earlyStoppingThreshold: flags.early_stopping_threshold },
		...{ maxGradNorm: flags.max_norm, saveSteps: flags.save_steps, saveTotalLimit: flags.max_ckpt_num, seed: flags.seed },
		...{ loggingSteps: flags.logging_steps, evalEvery: flags.eval_steps, signal },
		onEvent(event) {
			if (event.type === "reference") stage.update(event.rows, event.totalRows, "log-probabilities before training");
			if (event.type === "step") stage.update(event.step, event.totalSteps, `loss ${event.loss.toFixed(4)}`);
			if (event.type === "checkpoint") {
				checkpoint = event.dir;
				keepQuestion(question, checkpoint);
			}
			if (event.type === "early-stop") note(`stopped early after step ${event.step}: the last evaluations brought nothing better`);
			if (event.type === "damaged-checkpoint") note(`${event.dir} is passed over: ${event.damage}`);
			if (event.type === "eval-dropped") note(`held-out row ${event.row} is left out, ${event.reason}: ${event.detail}`);
			if (event.type === "dropped" && ++dropped <= DROPPED_SHOWN)
				note(`row ${event.row} is not trained on, ${event.reason}: ${event.detail}`);
		},
	});
	try {
		const result = await trainer.fit(allRows(files, readerOf(options.dpo !== undefined)));
		if (!flags.rank) keepQuestion(question, options.savePath);
		if (result.signatures > 0) note(`trained on ${result.signatures} compiled shapes of batches`);
		note(`padding: ${(100 * result.padding).toFixed(1)} % of what was computed`);
		if (result.best) note(`best: step ${result.best.step} with ${flags.metric_for_best_model} ${result.best.score}, in ${result.best.dir}`);
		return result;
	} catch (error) {
		if (!signal.aborted || error !== signal.reason) throw error; // another one: the checkpoint could not be saved
		if (flags.rank) throw interruptedWith(signal, "train: stopped; worker 0 says what to go on with");
		const wayOn =
			checkpoint === "" ? "no step was made" : `go on with \`train --resume_from_checkpoint ${checkpoint}\` and the same data and flags`;
		throw interruptedWith(signal, `train: stopped; ${wayOn}`);
	} finally {
		stage.end();
		if (dropped > 0) note(`${dropped} rows were not trained on`);
	}
}

async function* allRows<T>(files: readonly string[], read: (file: string) => AsyncIterable<T>): AsyncGenerator<T> {
	for (const file of files) yield* read(file);
}

const readerOf = (pairs: boolean): ((file: string) => AsyncIterable<TrainingRow>) => (pairs ? readPreferencePairs : readConversations);

/** A training that came to its end has the model itself beside its checkpoints. */
export const isFinished = (savePath: string) => ["config.json", "adapter_config.json"].some((file) => existsSync(join(savePath, file)));

export const hasCheckpoints = (savePath: string) =>
	existsSync(savePath) && readdirSync(savePath).some((name) => /^checkpoint-\d+$/.test(name));

/** Reads every row once: bad ones show before the model is loaded, and before anything of an earlier run is removed. */
async function checkRows(files: readonly string[], pairs: boolean, { signal }: Session): Promise<void> {
	let count = 0;
	for await (const _ of allRows(files, readerOf(pairs))) {
		count++;
		signal.throwIfAborted();
	}
	if (count === 0) throw new Error(`${files.join(", ")}: expected at least one ${pairs ? "pair" : "conversation"}, got none`);
}

export const trainCommand = (session: Session) =>
	defineCommand({
		name: "train",
		summary: "fine-tune a model on conversations, or on pairs of answers",
		schema: trainOptions,
		example: 'tfjs-rft train --pretrain judge --save_path checkpoint --train_data "imagegen-cot-reward-5k:rejection_sampling_train.json"',
		async action(options) {
			if (options.engine !== "ours") return handOver(options.engine, options, session);
			refuseEngineFlags(options);
			if (options.dry_run) return dryRun(options, session);
			if (options.processes > 1) return launchWorkers(options.processes, session, "train", GO_ON);
			return options.workers ? trainAsWorker(options, session) : train(options, session);
		},
	});

/** One of several processes. The first one checks and writes; what the others print would be the same again, but for their errors. */
async function trainAsWorker(options: TrainOptions, session: Session): Promise<void> {
	endWithLauncher();
	const { workers = [], rank = 0, backend, ddp_timeout: timeout } = options;
	const own = rank === 0 ? session : quietSession(session);
	await train(options, own, () => joinWorkers({ workers, rank, backend, timeout, signal: session.signal }));
}

async function train(options: TrainOptions, session: Session, join?: () => Promise<WorkerGroup>): Promise<void> {
	const { pretrain, save_path: savePath, train_data, log_dir: logDir, resume_from_checkpoint: resume } = options;
	const goesOn = resume === "auto" && !isFinished(savePath);
	const resumeFromCheckpoint = resume === "auto" ? (goesOn && hasCheckpoints(savePath) ? savePath : undefined) : resume;
	const resuming = resumeFromCheckpoint !== undefined;
	const writes = !options.rank;
	const { adapter, eval_dataset: evalFiles = [], eval_data_path = [] } = options;
	const inputs = [pretrain, ...(adapter ? [adapter] : []), ...train_data, ...evalFiles, ...dataFiles(eval_data_path)];
	const outputs = logDir === undefined ? [savePath] : [savePath, logDir];
	if (writes) await claimOutputs(outputs, inputs, options.overwrite || resuming || goesOn);
	const dpo = dpoOptions(options);
	await checkRows(train_data, dpo !== undefined, session);
	if (evalFiles.length > 0) await checkRows(evalFiles, false, session);
	const question = await chooseQuestion(options, options.adapter ?? pretrain, session);
	const workers = await join?.();
	try {
		const evaluate = await heldOutScores(options, question, session, workers);
		await using model = await openJudge(pretrain, options, session, { trainable: true, freeze: options.freeze });
		if (!resuming && writes) await clearOutputs({ checkpoint: savePath, logs: logDir });
		const evalDataset = evalFiles.length > 0 ? allRows(evalFiles, readConversations) : undefined;
		const own = {
			...{ savePath, logDir, dataRoot: options.data_root, resumeFromCheckpoint, evaluate, evalDataset, question, workers, dpo },
			zeroStage: stageOf(options),
		};
		const { steps, finalLoss, evaluations } = await fineTune(model, train_data, options, own, session);
		for (const { step, scores } of evaluations) session.print(`step ${step}: ${JSON.stringify(scores)}`);
		session.print(
			`${steps} steps, loss ${finalLoss.toFixed(4)}; model in ${resolve(savePath)}${logDir ? `, metrics in ${resolve(logDir)}` : ""}`,
		);
		await workers?.leave();
	} finally {
		workers?.abandon();
	}
}

/** Stage 3 was refused before. */
const stageOf = ({ zero_stage }: TrainOptions) => Number(zero_stage ?? 0) as ZeroStage;

async function heldOutScores(
	options: TrainOptions,
	question: string | undefined,
	session: Session,
	workers?: WorkerGroup,
): Promise<TrainerOptions["evaluate"]> {
	const heldOut = await surveyHeldOut(options, session);
	if (heldOut === undefined) return undefined;
	const asking = {
		batch_size: options.eval_batch_size,
		max_new_tokens: options.generate_max_len,
		use_cot: options.use_cot,
		seed: options.seed,
	};
	return scoreWhileTraining(heldOut, question, asking, options.log_judgements, session, workers);
}
