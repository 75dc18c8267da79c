/** `sample`: judgements of preference pairs, the right ones to filtered_samples.json. */
import { existsSync } from "node:fs";
import {
	formatStats,
	type GenerateCotOptions,
	type GenerativeModel,
	generateCoT,
	type Journal,
	type JudgementStats,
	rejectFiltered,
	type SelectionStats,
	selectPerRecord,
	writeJsonArray,
	writeJsonLines,
	writeText,
} from "../index.js";
import { defineCommand } from "./define-command.js";
import { endWhenAborted, interruptedWith } from "./interrupt.js";
import { openSampler } from "./open-judge.js";
import { type DrawOptions, sampleOptions } from "./options.js";
import { claimOutputs, journalFile, type SampleFiles, sampleFiles } from "./outputs.js";
import { chooseQuestion } from "./question.js";
import { dataFiles, type SurveyedRecords, surveyRecords } from "./records.js";
import { drawingOptions, openSampleJournal } from "./sample-journal.js";
import type { Session } from "./session.js";

export interface SampleResult {
	stats: JudgementStats;
	selection: SelectionStats;
}

/**
 * Samples what the journal has not, judges, selects, and writes the three files as it goes.
 * @throws Interrupted after a signal: the files are whole and hold what was sampled until then, up to the first judgement that is missing.
 */
export async function sampleJudgements(
	model: GenerativeModel,
	{ records, count }: SurveyedRecords,
	files: SampleFiles,
	promptTemplate: string | undefined,
	journal: Journal,
	options: DrawOptions,
	session: Session,
): Promise<SampleResult> {
	const { signal } = session;
	const { use_cot: useCot, both_orders_rule: bothOrders, max_per_order: maxPerOrder } = options;
	const total = count * options.samples_per_record;
	const stage = session.stage("sample", total);
	const drawing: GenerateCotOptions = {
		...drawingOptions(options, promptTemplate),
		...{ journal, signal },
		onProgress: ({ done, errors, tokensPerSecond, utilisation }) => {
			const busy = utilisation === undefined ? "" : `, ${(100 * utilisation).toFixed(0)} % of rows in use`;
			stage.update(done, total, `${tokensPerSecond.toFixed(0)} tokens/s${busy}${errors > 0 ? `, ${errors} failed` : ""}`);
		},
	};
	const result = await session
		.finishing((drain) =>
			writeJsonLines(files.rejected, async (onRejected) => {
				const rollouts = generateCoT(records, model, { ...drawing, drain });
				const accepted = rejectFiltered(endWhenAborted(rollouts, signal), { useCot, onRejected });
				const selected = selectPerRecord(accepted, { bothOrders, maxPerOrder });
				await writeJsonArray(files.filtered, selected);
				return { stats: accepted.stats, selection: selected.stats };
			}),
		)
		.finally(() => stage.end());
	await writeText(files.stats, formatStats(result.stats));
	if (signal.aborted) {
		const { total: done } = result.stats;
		throw interruptedWith(
			signal,
			`sample: stopped after ${done} of ${total} judgements; ${result.selection.kept} kept in ${files.filtered}, which is whole. ` +
				`The same command goes on from ${journal.file}, where all ${journal.size} finished judgements are`,
		);
	}
	return result;
}

/** The statistics' text and the yield. */
export function describeSample({ stats, selection }: SampleResult): string {
	const share = ((100 * selection.kept) / stats.total).toFixed(1);
	return `${formatStats(stats)}kept: ${selection.kept} of ${stats.total} judgements (${share} %), of ${selection.recordsKept} pairs`;
}

export const sampleCommand = (session: Session) =>
	defineCommand({
		name: "sample",
		summary: "sample judgements of preference pairs and keep the right ones",
		schema: sampleOptions,
		example: 'tfjs-rft sample --model_path judge --data_path "hpdv3:train.json" --output_path results --batch_size 32 --use_cot',
		async action(options) {
			const files = sampleFiles(options.output_path);
			const journalAt = options.journal ?? journalFile(options.output_path);
			const inputs = dataFiles(options.data_path);
			await claimOutputs([journalAt], inputs, true);
			// Files that a journal has made may be made again from it.
			await claimOutputs(Object.values(files), inputs, options.overwrite || existsSync(journalAt));
			const promptTemplate = await chooseQuestion(options, options.model_path, session);
			const records = await surveyRecords(options, session);
			await using model = await openSampler(options.model_path, options, session);
			await using journal = await openSampleJournal(journalAt, model, promptTemplate, options, session);
			const sampled = await sampleJudgements(model, records, files, promptTemplate, journal, options, session);
			session.print([describeSample(sampled), ...Object.values(files)].join("\n"));
		},
	});
