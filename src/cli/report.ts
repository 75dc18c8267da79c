/** `report`: rollouts that were written earlier, as one HTML page. */
import { correct, filterRollouts, wellFormed, writeReport } from "../index.js";
import { defineCommand } from "./define-command.js";
import { reportOptions } from "./options.js";
import { claimOutputs } from "./outputs.js";
import { openReport } from "./report-page.js";
import { openRolloutFiles } from "./rollout-files.js";
import type { Session } from "./session.js";

export const reportCommand = (session: Session) =>
	defineCommand({
		name: "report",
		summary: "show judgements of a journal, or kept and rejected ones, as one HTML page",
		schema: reportOptions,
		positional: ["rollouts"],
		example: "tfjs-rft report results/filtered_samples.json results/rejected_samples.jsonl --output_path report.html",
		async action(options) {
			const { rollouts: files, output_path, overwrite, gallery_size: gallery, gallery_seed: seed } = options;
			await claimOutputs([output_path], files, overwrite);
			const { rollouts, useCot, judged } = await openRolloutFiles(files, session);
			const facts = { facts: { rollouts: files.join(", ") } };
			if (judged) await writeReport(output_path, rollouts, { ...facts, gallery, seed });
			else {
				const filters = [wellFormed(), correct()];
				const counts = openReport(options, filters);
				for await (const _ of filterRollouts(rollouts, filters, { useCot, counts })) session.signal.throwIfAborted();
				await writeReport(output_path, counts, facts);
			}
			session.print(output_path);
		},
	});
