/** `filter`: rollouts that were drawn earlier, with other filters; what `sample` writes, without a judge. */
import { writeReport } from "../index.js";
import { defineCommand } from "./define-command.js";
import { chooseFilters } from "./filters.js";
import { filterOptions } from "./options.js";
import { claimOutputs, pageFile, sampleFiles } from "./outputs.js";
import { dataFiles } from "./records.js";
import { openReport } from "./report-page.js";
import { openRolloutFiles } from "./rollout-files.js";
import { describeSample, exportedFiles, keepRollouts } from "./sample.js";
import type { Session } from "./session.js";

export const filterCommand = (session: Session) =>
	defineCommand({
		name: "filter",
		summary: "keep other judgements of a journal, or of kept and rejected ones, without a judge",
		schema: filterOptions,
		positional: ["rollouts"],
		example: "tfjs-rft filter results/journal.jsonl --output_path results/strict --scores_agree --both_orders_rule",
		async action(options) {
			const files = sampleFiles(options.output_path);
			const page = pageFile(files);
			const inputs = [...options.rollouts, ...dataFiles(options.decontaminate ?? [])];
			await claimOutputs([...Object.values(files), page, ...exportedFiles(files, options)], inputs, options.overwrite);
			const { rollouts, useCot } = await openRolloutFiles(options.rollouts, session);
			const filters = await chooseFilters(options, session);
			const collector = openReport(options, filters);
			const filtered = await keepRollouts(rollouts, files, filters, useCot, options, { page: collector });
			await writeReport(page, collector, { facts: { rollouts: options.rollouts.join(", ") }, exported: filtered.exported });
			session.print([describeSample(filtered), ...Object.values(files), page].join("\n"));
		},
	});
