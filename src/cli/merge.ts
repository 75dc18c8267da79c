/** `merge`: journals of several machines into one, from which `sample` makes its files. */
import { type MergeReport, mergeJournals } from "../index.js";
import { defineCommand } from "./define-command.js";
import { mergeOptions } from "./options.js";
import type { Session } from "./session.js";

/** What was written and what was not, line by line for what is lost. */
export function describeMerge(file: string, { rollouts, duplicates, damaged }: MergeReport): string {
	const lost = damaged.map((line) => `\n  ${line}`).join("");
	return `${file}: ${rollouts} judgements; repeated lines: ${duplicates}, damaged lines left out: ${damaged.length}${lost}`;
}

export const mergeCommand = (session: Session) =>
	defineCommand({
		name: "merge",
		summary: "join journals of one configuration; what is in several of them must agree",
		schema: mergeOptions,
		positional: ["output", "journals"],
		example: "tfjs-rft merge results/journal.jsonl machine-1/journal.jsonl machine-2/journal.jsonl",
		async action({ output, journals }) {
			session.print(describeMerge(output, await mergeJournals(output, journals)));
		},
	});
