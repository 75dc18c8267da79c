/** The work of `run`, once or as one round: sample, convert, train, and evaluation before and after where held-out pairs are given; everything into one folder. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
	type Evaluation,
	type GenerativeModel,
	type PreferenceRecord,
	type ReportFacts,
	type SamplePlan,
	writeReport,
	writeText,
} from "../index.js";
import { convertJudgements } from "./convert.js";
import { chooseFilters } from "./filters.js";
import { evaluationTable, scoreHeldOut, scoreWhileTraining } from "./held-out.js";
import { Interrupted, interruptedWith } from "./interrupt.js";
import { openJudge } from "./open-judge.js";
import type { RunOptions } from "./options.js";
import { claimOutputs, clearOutputs, journalFile, quarantineFile, runFiles } from "./outputs.js";
import { chooseQuestion } from "./question.js";
import { dataFiles, type SurveyedRecords, surveyHeldOut, surveyRecords } from "./records.js";
import { openReport } from "./report-page.js";
import { describeSample, exportedFiles, type RecordsToSample, sampleJudgements } from "./sample.js";
import { openSampleJournal } from "./sample-journal.js";
import type { Session } from "./session.js";
import { fineTune, hasCheckpoints, isFinished } from "./train.js";

type Files = ReturnType<typeof runFiles>;
const evaluationFile = (logs: string) => join(logs, "evaluation.json");

/** What makes a run one round of several; see rounds.ts. */
export interface RoundPart {
	/** The checkpoint that is trained; the options' `model_path` judges. */
	trainFrom: string;
	plan: SamplePlan;
	/** Of the first judge, on the held-out pairs. */
	before?: Evaluation;
	/** The pairs that the rounds are chosen by, and those that are not among them. */
	dev: SurveyedRecords;
	only: (record: PreferenceRecord) => boolean;
}

export interface Improved {
	/** On the held-out pairs; none where none are given. */
	after?: Evaluation;
	/** On the pairs that the rounds are chosen by. */
	dev?: Evaluation;
}

/**
 * Once through all stages, into the options' `output_path`; what an earlier run that was stopped has left there is gone on from.
 * @throws Interrupted after a signal, naming the stages that are not finished
 */
export async function improveJudge(options: RunOptions, session: Session, part?: RoundPart): Promise<Improved> {
	const files = runFiles(options.output_path);
	const { checkpoint, logs, ...single } = files;
	const exported = exportedFiles(files, options);
	const earlier = [...Object.values(single), ...exported, evaluationFile(logs)];
	const sources = [...options.data_path, ...(options.eval_data_path ?? []), ...(options.decontaminate ?? [])];
	const inputs = [options.model_path, ...dataFiles(sources)];
	const journalAt = options.journal ?? journalFile(options.output_path);
	await claimOutputs([journalAt, quarantineFile(options.output_path)], inputs, true);
	// A run that was stopped goes on: what it has written until then may be written again, and its training's newest checkpoint is gone on from.
	const isStopped = part !== undefined || !isDone(files, options); // a round that is finished is not played
	const goesOn = existsSync(journalAt) && !options.overwrite && !options.force_new && isStopped;
	await claimOutputs([...Object.values(files), ...exported], inputs, options.overwrite || goesOn);
	const resumeFromCheckpoint = goesOn && hasCheckpoints(checkpoint) ? checkpoint : undefined;
	const earlierTraining = resumeFromCheckpoint === undefined ? { checkpoint, logs } : {};
	const remaining = [...(part ? [] : ["evaluate before"]), "sample", "convert", "train", "evaluate after"];
	try {
		const clear = () => clearOutputs({ files: earlier, ...earlierTraining });
		return await improve(options, files, { journalAt, resumeFromCheckpoint, part }, remaining, clear, session);
	} catch (error) {
		if (!(error instanceof Interrupted)) throw error;
		const undone = remaining.filter((stage) => options.eval_data_path !== undefined || !stage.startsWith("evaluate"));
		throw interruptedWith(
			session.signal,
			`run: ${error.message}; not finished: ${undone.join(", ")}. Files so far are in ${options.output_path}; the same command goes on`,
		);
	}
}

/** Whether an earlier run with this folder came to its end: nothing is left to go on with. */
function isDone({ checkpoint, logs }: Files, { eval_data_path }: RunOptions): boolean {
	if (!isFinished(checkpoint)) return false;
	if (eval_data_path === undefined) return true;
	const file = evaluationFile(logs);
	return existsSync(file) && "after" in (JSON.parse(readFileSync(file, "utf8")) as object);
}

/** @param remaining stages that are not finished, for the message of an interrupted run; shortened as they are */
async function improve(
	options: RunOptions,
	files: Files,
	{ journalAt, resumeFromCheckpoint, part }: { journalAt: string; resumeFromCheckpoint?: string; part?: RoundPart },
	remaining: string[],
	clear: () => Promise<void>,
	session: Session,
): Promise<Improved> {
	const started = performance.now();
	const question = await chooseQuestion(options, options.adapter ?? options.model_path, session);
	const records = await surveyToSample(options, session, part);
	const heldOut = await surveyHeldOut(options, session);
	const filters = await chooseFilters(options, session);
	const asking = askingOptions(options);
	const evaluations: Record<string, Evaluation> = part?.before ? { before: part.before } : {};
	const page = openReport(options, filters);
	const facts = reportFacts(options, records, evaluations);
	const score = async (when: "before" | "after", model: GenerativeModel) => {
		if (heldOut) evaluations[when] = await scoreHeldOut(model, heldOut, question, asking, `judge ${when}`, session);
		if (heldOut) await writeText(evaluationFile(files.logs), `${JSON.stringify(evaluations, null, 2)}\n`);
		remaining.shift();
	};

	{
		await using judge = await openJudge(options.model_path, options, session);
		await using journal = await openSampleJournal(journalAt, judge, question, options, session);
		await clear();
		await mkdir(files.logs, { recursive: true });
		await writeText(join(files.logs, "options.json"), `${JSON.stringify(options, null, 2)}\n`);
		if (!part) await score("before", judge);
		const sampled = await sampleJudgements(judge, records, files, question, filters, journal, options, session, page);
		facts.exported = sampled.exported;
		remaining.shift();
		session.print(describeSample(sampled));
		if (sampled.report.kept === 0) {
			await writeReport(files.page, page, facts);
			throw new Error(
				`no judgement was kept, so there is nothing to train on; ${files.page}, ${files.stats} and ${files.rejected} say why`,
			);
		}
	}
	const { relative_paths, image_root } = options;
	const conversion = { data_root: image_root, relative_paths, bare_images: false };
	const conversations = await convertJudgements(files.filtered, files.conversations, conversion, session);
	remaining.shift();
	// Opened anew: in bfloat16, sampling keeps half-size weights and training float32 ones.
	await using model = await openJudge(part?.trainFrom ?? options.model_path, options, session, { trainable: true, freeze: options.freeze });
	const dataRoot = relative_paths ? image_root : undefined;
	const watched = part?.dev ?? heldOut; // in rounds, the held-out pairs choose nothing
	const evaluate =
		watched && options.eval_steps !== undefined
			? scoreWhileTraining(watched, question, asking, options.log_judgements, session)
			: undefined;
	const own = { savePath: files.checkpoint, logDir: files.logs, dataRoot, question, resumeFromCheckpoint, evaluate };
	const { steps, finalLoss } = await fineTune(model, [files.conversations], options, own, session);
	remaining.shift();
	session.print(`${conversations} conversations, ${steps} steps, loss ${finalLoss.toFixed(4)}`);
	await score("after", model);
	await writeReport(files.page, page, facts);
	if (heldOut) session.print(evaluationTable(evaluations));
	const dev = part && (await scoreHeldOut(model, part.dev, question, asking, "dev pairs", session));
	const { page: _, ...others } = files;
	session.print(
		[
			`${((performance.now() - started) / 1000).toFixed(0)} s in all; files:`,
			...Object.values(others),
			`report, to open in a browser: ${files.page}`,
		].join("\n"),
	);
	return { after: evaluations.after, dev };
}

function reportFacts(options: RunOptions, { input }: SurveyedRecords, evaluations: Record<string, Evaluation>): ReportFacts {
	const facts = {
		judge: options.model_path,
		data: options.data_path.join(", "),
		drawn: `${options.samples_per_record} per pair and shown order (${options.orders}), temperature ${options.temperature}, seed ${options.seed}`,
	};
	return { facts, input, evaluations };
}

/** A judge is measured by what it says of its own accord, whatever its judgements are made to be when they are sampled. */
export function askingOptions({ batch_size, max_new_tokens, use_cot, seed, score }: RunOptions) {
	return { batch_size, max_new_tokens, use_cot, seed, score };
}

/** The pairs to train on; in a round without those that it is chosen by, and as often as its plan says. */
async function surveyToSample(options: RunOptions, session: Session, part?: RoundPart): Promise<RecordsToSample> {
	const quarantine = quarantineFile(options.output_path);
	if (!part) return surveyRecords(options, session, { quarantine });
	const { plan, only } = part;
	return { ...(await surveyRecords(options, session, { quarantine, only, samplesOf: plan.samplesOf })), plan };
}
