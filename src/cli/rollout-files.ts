/** Rollouts that earlier commands have written: journals, `filtered_samples.json` and `rejected_samples.jsonl`. */
import {
	gatherByRecord,
	isJournal,
	type JudgedRollout,
	judgeRollout,
	readJournal,
	readJournalRollouts,
	readJudgedRollouts,
} from "../index.js";
import type { Session } from "./session.js";

export interface RolloutFiles {
	/** A record's side by side. Those of journals are judged here. */
	rollouts: AsyncIterable<JudgedRollout>;
	/** As journals say; true where none does. */
	useCot: boolean;
	/** Whether all are of files that `sample` or `run` has judged: then what is kept is decided already. */
	judged: boolean;
}

/** @throws JournalError, DatasetError for a file that can't be read, at once or while iterating */
export async function openRolloutFiles(files: readonly string[], { note, signal }: Session): Promise<RolloutFiles> {
	const journals = new Set<string>();
	let useCot = true;
	for (const file of files) {
		if (!(await isJournal(file))) continue;
		journals.add(file);
		if ((await readJournal(file)).header.notes.useCot === false) useCot = false;
	}
	const told = new Set<string>();
	const onDamage = (where: string) => {
		if (told.has(where)) return;
		told.add(where);
		note(`left out: ${where}`);
	};
	async function* read(): AsyncGenerator<JudgedRollout> {
		for (const file of files) {
			if (!journals.has(file)) yield* readJudgedRollouts(file);
			else for await (const rollout of readJournalRollouts(file, { onDamage })) yield judgeRollout(rollout, { useCot });
			signal.throwIfAborted();
		}
	}
	return { rollouts: gatherByRecord(read), useCot, judged: journals.size === 0 };
}
