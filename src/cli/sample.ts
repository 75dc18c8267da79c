/** `sample`: judgements of preference pairs, the right ones to filtered_samples.json. */
import { existsSync } from "node:fs";
import {
	type ExportCounts,
	exportFiles,
	type FilteredRecord,
	type FilterReport,
	filterRollouts,
	formatFilterReport,
	type GenerateCotOptions,
	type GenerativeModel,
	generateCoT,
	type Journal,
	type ReportCollector,
	type Rollout,
	type RolloutFilter,
	type RowCounts,
	type SamplePlan,
	type WriteExportsOptions,
	writeExports,
	writeJsonArray,
	writeJsonLines,
	writeText,
} from "../index.js";
import { defineCommand } from "./define-command.js";
import { chooseFilters } from "./filters.js";
import { endWhenAborted, interruptedWith } from "./interrupt.js";
import { openSampler } from "./open-judge.js";
import { type DrawOptions, type ExportOptions, sampleOptions } from "./options.js";
import { claimOutputs, exportFolder, journalFile, quarantineFile, type SampleFiles, sampleFiles } from "./outputs.js";
import { chooseQuestion } from "./question.js";
import { sampleOnRay } from "./ray/sample-on-ray.js";
import { dataFiles, formatInput, type SurveyedRecords, surveyRecords } from "./records.js";
import { drawingOptions, openSampleJournal } from "./sample-journal.js";
import { openSamplingLog, samplingLogFolder } from "./sampling-log.js";
import type { Session } from "./session.js";

/** Records, and in a round how often each is asked and what is carried on. */
export interface RecordsToSample extends SurveyedRecords {
	plan?: SamplePlan;
}

export interface SampleResult {
	report: FilterReport;
	/** Rows per exported file; empty without `--export`. */
	exported: ExportCounts;
}

/**
 * Samples what the journal has not, judges, filters, and writes the files as it goes.
 * @param filters as `chooseFilters` gives them
 * @param files with `logs`, the folder where counts are logged
 * @param page is given every record, for a report
 * @throws Interrupted after a signal: the files are whole and hold what was sampled until then, up to the first judgement that is missing.
 */
export async function sampleJudgements(
	model: GenerativeModel,
	{ records, count, samples, input, plan }: RecordsToSample,
	files: SampleFiles & { logs?: string },
	promptTemplate: string | undefined,
	filters: readonly RolloutFilter[],
	journal: Journal,
	options: DrawOptions,
	session: Session,
	page?: ReportCollector,
): Promise<SampleResult> {
	const { signal } = session;
	const { use_cot: useCot } = options;
	const total = samples ?? count * options.samples_per_record;
	const stage = session.stage("sample", total);
	const drawing: GenerateCotOptions = {
		...drawingOptions(options, promptTemplate),
		...(plan && { samplesPerRecord: plan.samplesOf }),
		...{ journal, signal },
		onProgress: ({ done, errors, tokensPerSecond, utilisation }) => {
			const busy = utilisation === undefined ? "" : `, ${(100 * utilisation).toFixed(0)} % of rows in use`;
			stage.update(done, total, `${tokensPerSecond.toFixed(0)} tokens/s${busy}${errors > 0 ? `, ${errors} failed` : ""}`);
		},
	};
	const result = await session
		.finishing((drain) => {
			async function* judgements() {
				yield* endWhenAborted(generateCoT(records, model, { ...drawing, drain }), signal);
				if (plan && !drain.aborted && !signal.aborted) yield* plan.carried();
			}
			return keepRollouts(judgements(), files, filters, useCot, options, { page, input, logDir: files.logs });
		})
		.finally(() => stage.end());
	if (signal.aborted) {
		throw interruptedWith(
			signal,
			`sample: stopped after ${result.report.total} of ${total} judgements; ${result.report.kept} kept in ${files.filtered}, which is whole. ` +
				`The same command goes on from ${journal.file}, where all ${journal.size} finished judgements are`,
		);
	}
	return result;
}

/** Filters rollouts, and writes what is kept, what is not, the exports and the statistics. @param page is given every record; `input` stands in the statistics and, with a `logDir`, in the log */
export async function keepRollouts(
	rollouts: AsyncIterable<Rollout>,
	files: SampleFiles,
	filters: readonly RolloutFilter[],
	useCot: boolean,
	options: ExportOptions,
	{ page, input, logDir }: { page?: ReportCollector; input?: RowCounts; logDir?: string },
): Promise<SampleResult> {
	await using log = logDir === undefined ? undefined : await openSamplingLog(logDir, input);
	const result = await writeJsonLines(files.rejected, (onRejected) =>
		withExports(files, options, async (add) => {
			const onRecord = async (record: FilteredRecord) => {
				await add?.(record);
				await log?.update(() => kept.report);
			};
			const kept = filterRollouts(rollouts, filters, { useCot, onRejected, onRecord, counts: page });
			await writeJsonArray(files.filtered, kept);
			return kept.report;
		}),
	);
	await log?.end(result.report);
	await writeText(files.stats, `${formatFilterReport(result.report)}${input ? formatInput(input) : ""}`);
	await writeText(files.report, `${JSON.stringify({ ...result.report, input }, null, 2)}\n`);
	return result;
}

/** Writes the training files that `--export` asks for from the records that `body` adds. */
async function withExports(
	files: SampleFiles,
	options: ExportOptions,
	body: (add?: (record: FilteredRecord) => Promise<void>) => Promise<FilterReport>,
): Promise<SampleResult> {
	const exporting = exportOptions(options);
	if (!exporting) return { report: await body(), exported: {} };
	const { result, counts } = await writeExports(exportFolder(files), exporting, body);
	return { report: result, exported: counts };
}

function exportOptions({
	export: layouts,
	export_rows,
	export_format,
	relative_paths,
	image_root,
}: ExportOptions): WriteExportsOptions | undefined {
	if (layouts === undefined) return undefined;
	return { layouts, kinds: export_rows, format: export_format, imageRoot: relative_paths ? image_root : undefined };
}

/** The files that `--export` asks for. */
export function exportedFiles(files: SampleFiles, options: ExportOptions): string[] {
	const exporting = exportOptions(options);
	return exporting ? exportFiles(exportFolder(files), exporting) : [];
}

/** The statistics' text without reliability tables, which the files have; the yield and the rows exported. */
export function describeSample({ report, exported }: SampleResult): string {
	const share = ((100 * report.kept) / report.total).toFixed(1);
	const rows = Object.entries(exported).map(([file, count]) => `\n${file}: ${count} rows`);
	return `${formatFilterReport(report, { table: false })}kept: ${report.kept} of ${report.total} judgements (${share} %), of ${report.recordsKept} pairs${rows.join("")}`;
}

export const sampleCommand = (session: Session) =>
	defineCommand({
		name: "sample",
		summary: "sample judgements of preference pairs and keep the right ones",
		schema: sampleOptions,
		example: 'tfjs-rft sample --model_path judge --data_path "hpdv3:train.json" --output_path results --batch_size 32 --use_cot',
		async action(options) {
			const files = sampleFiles(options.output_path);
			const outputs = [...Object.values(files), ...exportedFiles(files, options)];
			const inputs = dataFiles([...options.data_path, ...(options.decontaminate ?? [])]);
			const journalAt = options.journal ?? journalFile(options.output_path);
			const quarantine = quarantineFile(options.output_path);
			await claimOutputs([journalAt, quarantine], inputs, true);
			// Files that a journal has made may be made again from it.
			const logs = options.log_dir;
			const logged = logs === undefined ? [] : [samplingLogFolder(logs)];
			await claimOutputs([...outputs, ...logged], inputs, options.overwrite || existsSync(journalAt));
			const { ray } = options;
			if (ray !== undefined) await sampleOnRay({ ...options, ray }, session);
			const promptTemplate = await chooseQuestion(options, options.adapter ?? options.model_path, session);
			const records = await surveyRecords(options, session, { quarantine });
			const filters = await chooseFilters(options, session);
			await using model = await openSampler(options.model_path, options, session);
			await using journal = await openSampleJournal(journalAt, model, promptTemplate, options, session);
			const sampled = await sampleJudgements(model, records, { ...files, logs }, promptTemplate, filters, journal, options, session);
			session.print([describeSample(sampled), ...Object.values(files)].join("\n"));
		},
	});
