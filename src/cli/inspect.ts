/** `inspect`: what a journal holds, also while it is being written. */
import { stat } from "node:fs/promises";
import { collectStats, formatStats, type JournalHeader, type JudgementStats, judgeRollout, readJournal } from "../index.js";
import { defineCommand } from "./define-command.js";
import { inspectOptions } from "./options.js";
import type { Session } from "./session.js";

interface Inspection extends JournalHeader {
	bytes: number;
	rollouts: number;
	/** Lines whose key stood earlier already. */
	duplicates: number;
	/** Lines that are not whole; where it is being written, the last may be one. */
	damaged: string[];
	tokens: number;
	/** Earliest and latest line, by the clocks of those who wrote. */
	first?: string;
	last?: string;
	stats: JudgementStats;
}

async function inspectJournal(file: string, signal: AbortSignal): Promise<Inspection> {
	const damaged: string[] = [];
	const journal = await readJournal(file, { onDamage: (where) => damaged.push(where) });
	const useCot = journal.header.notes.useCot !== false;
	const collector = collectStats();
	let [rollouts, tokens] = [0, 0];
	let [first, last]: (string | undefined)[] = [];
	for await (const { time, rollout } of journal) {
		signal.throwIfAborted();
		collector.add(judgeRollout({ ...rollout, promptText: "" }, { useCot }));
		[rollouts, tokens] = [rollouts + 1, tokens + rollout.numTokens];
		if (first === undefined || time < first) first = time;
		if (last === undefined || time > last) last = time;
	}
	const { size: bytes } = await stat(file);
	const { duplicates, header } = journal;
	return { ...header, bytes, rollouts, duplicates, damaged, tokens, first, last, stats: collector.stats() };
}

function describe(file: string, { configuration, notes, stats, ...counts }: Inspection): string {
	const { promptTemplate, ...groups } = configuration;
	const values = Object.entries({ ...groups, notes }).flatMap(([group, own]) =>
		Object.entries(own).map(([name, v]) => `${group}.${name}: ${v}`),
	);
	return [
		`${file}: ${counts.rollouts} judgements, ${counts.tokens} tokens, ${counts.bytes} bytes`,
		`first: ${counts.first ?? "none"}, last: ${counts.last ?? "none"}`,
		`repeated lines: ${counts.duplicates}, damaged lines: ${counts.damaged.length}${counts.damaged.map((line) => `\n  ${line}`).join("")}`,
		...(counts.rollouts > 0 ? [formatStats(stats).trimEnd()] : []),
		...values,
		`promptTemplate: ${JSON.stringify(promptTemplate)}`,
	].join("\n");
}

export const inspectCommand = (session: Session) =>
	defineCommand({
		name: "inspect",
		summary: "say what a journal holds: counts, outcomes, configuration, last time",
		schema: inspectOptions,
		positional: ["journal"],
		example: "tfjs-rft inspect results/journal.jsonl",
		async action({ journal, json }) {
			const inspection = await inspectJournal(journal, session.signal);
			session.print(json ? JSON.stringify(inspection, null, 2) : describe(journal, inspection));
		},
	});
