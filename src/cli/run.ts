/** `run`: the whole job, once or in rounds. */
import { defineCommand } from "./define-command.js";
import { improveJudge } from "./improve.js";
import { runOptions } from "./options.js";
import { readConfig } from "./read-config.js";
import { improveInRounds } from "./rounds.js";
import type { Session } from "./session.js";

export const runCommand = (session: Session) =>
	defineCommand({
		name: "run",
		summary: "the whole job: sample, filter, convert, train, and evaluate before and after; with --rounds again and again",
		schema: runOptions,
		example: "tfjs-rft run job.yaml --output_path results/1 --eval_data_path hpdv3:heldout.json",
		readConfig,
		async action(options) {
			if (options.rounds > 1) await improveInRounds(options, session);
			else await improveJudge(options, session);
		},
	});
