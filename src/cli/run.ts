/** `run`: sample, convert, train, and evaluation before and after where held-out pairs are given; everything into one folder. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { collectReport, type Evaluation, type GenerativeModel, type ReportFacts, writeReport, writeText } from "../index.js";
import { convertJudgements } from "./convert.js";
import { defineCommand } from "./define-command.js";
import { chooseFilters } from "./filters.js";
import { evaluationTable, scoreHeldOut } from "./held-out.js";
import { Interrupted, interruptedWith } from "./interrupt.js";
import { openJudge } from "./open-judge.js";
import { type RunOptions, runOptions } from "./options.js";
import { claimOutputs, clearOutputs, journalFile, quarantineFile, runFiles } from "./outputs.js";
import { chooseQuestion } from "./question.js";
import { readConfig } from "./read-config.js";
import { dataFiles, surveyHeldOut, surveyRecords } from "./records.js";

import { describeSample, exportedFiles, sampleJudgements } from "./sample.js";
import { openSampleJournal } from "./sample-journal.js";

import type { Session } from "./session.js";
import { fineTune, hasCheckpoints, isFinished } from "./train.js";

type Files = ReturnType<typeof runFiles>;
const evaluationFile = (logs: string) => join(logs, "evaluation.json");

export const runCommand = (session: Session) =>
	defineCommand({
		name: "run",
		summary: "the whole job: sample, filter, convert, train, and evaluate before and after",
		schema: runOptions,
		example: "tfjs-rft run job.yaml --output_path results/1 --eval_data_path hpdv3:heldout.json",
		readConfig,
		async action(options) {
			const files = runFiles(options.output_path);
			const { checkpoint, logs, ...single } = files;
			const exported = exportedFiles(files, options);
			const earlier = [...Object.values(single), ...exported, evaluationFile(logs)];
			const sources = [...options.data_path, ...(options.eval_data_path ?? []), ...(options.decontaminate ?? [])];
			const inputs = [options.model_path, ...dataFiles(sources)];
			const journalAt = options.journal ?? journalFile(options.output_path);
			await claimOutputs([journalAt, quarantineFile(options.output_path)], inputs, true);
			// A run that was stopped goes on: what it has written until then may be written again, and its training's newest checkpoint is gone on from.
			const goesOn = existsSync(journalAt) && !options.overwrite && !options.force_new && !isDone(files, options);
			await claimOutputs([...Object.values(files), ...exported], inputs, options.overwrite || goesOn);
			const resumeFromCheckpoint = goesOn && hasCheckpoints(checkpoint) ? checkpoint : undefined;
			const earlierTraining = resumeFromCheckpoint === undefined ? { checkpoint, logs } : {};
			const remaining = ["evaluate before", "sample", "convert", "train", "evaluate after"];
			try {
				const clear = () => clearOutputs({ files: earlier, ...earlierTraining });
				await improve(options, files, { journalAt, resumeFromCheckpoint }, remaining, clear, session);
			} catch (error) {
				if (!(error instanceof Interrupted)) throw error;
				const undone = remaining.filter((stage) => options.eval_data_path !== undefined || !stage.startsWith("evaluate"));
				throw interruptedWith(
					session.signal,
					`run: ${error.message}; not finished: ${undone.join(", ")}. Files so far are in ${options.output_path}; the same command goes on`,
				);
			}
		},
	});

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
	{ journalAt, resumeFromCheckpoint }: { journalAt: string; resumeFromCheckpoint?: string },
	remaining: string[],
	clear: () => Promise<void>,
	session: Session,
): Promise<void> {
	const started = performance.now();
	const question = await chooseQuestion(options, options.model_path, session);
	const records = await surveyRecords(options, session, quarantineFile(options.output_path));
	const heldOut = await surveyHeldOut(options, session);
	const filters = await chooseFilters(options, session);
	// A judge is measured by what it says of its own accord, whatever its judgements are made to be when they are sampled.
	const { batch_size, max_new_tokens, use_cot, seed, score: scoring } = options;
	const asking = { batch_size, max_new_tokens, use_cot, seed, score: scoring };
	const evaluations: Record<string, Evaluation> = {};
	const page = collectReport({ gallery: options.gallery_size, seed: options.gallery_seed, filters: filters.map(({ name }) => name) });
	const facts: ReportFacts = {
		facts: {
			judge: options.model_path,
			data: options.data_path.join(", "),
			drawn: `${options.samples_per_record} per pair and shown order (${options.orders}), temperature ${options.temperature}, seed ${options.seed}`,
		},
		input: records.input,
		evaluations,
	};
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
		await score("before", judge);
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
	await using model = await openJudge(options.model_path, options, session, { trainable: true, freeze: options.freeze });
	const dataRoot = relative_paths ? image_root : undefined;
	const own = { savePath: files.checkpoint, logDir: files.logs, dataRoot, question, resumeFromCheckpoint };
	const { steps, finalLoss } = await fineTune(model, [files.conversations], options, own, session);
	remaining.shift();
	session.print(`${conversations} conversations, ${steps} steps, loss ${finalLoss.toFixed(4)}`);
	await score("after", model);
	await writeReport(files.page, page, facts);
	if (heldOut) session.print(evaluationTable(evaluations));
	const { page: _, ...others } = files;
	session.print(
		[
			`${((performance.now() - started) / 1000).toFixed(0)} s in all; files:`,
			...Object.values(others),
			`report, to open in a browser: ${files.page}`,
		].join("\n"),
	);
}
