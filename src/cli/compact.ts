/** `compact`: a journal without repeated and damaged lines. */
import { compactJournal } from "../index.js";
import { defineCommand } from "./define-command.js";
import { describeMerge } from "./merge.js";
import { compactOptions } from "./options.js";
import type { Session } from "./session.js";

export const compactCommand = (session: Session) =>
	defineCommand({
		name: "compact",
		summary: "write a journal again without repeated and damaged lines",
		schema: compactOptions,
		positional: ["journal"],
		example: "tfjs-rft compact results/journal.jsonl",
		async action({ journal }) {
			session.print(describeMerge(journal, await compactJournal(journal)));
		},
	});
