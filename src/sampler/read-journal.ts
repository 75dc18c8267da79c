/** A journal's content without taking its lock: for looking at one, also while another process writes it. */
import { JournalError } from "./journal-error.js";
import { JournalIndex } from "./journal-index.js";
import { type JournalEntry, type JournalHeader, parseEntry } from "./journal-line.js";
import { fillTemplate, judgePromptText } from "./prompt.js";
import type { Rollout } from "./rollout.js";
import { describeDamage, type ScannedLine, scanEntries, scanHeader } from "./scan-journal.js";

export interface ReadJournal extends AsyncIterable<JournalEntry> {
	readonly header: JournalHeader;
	/** Lines so far whose key stood earlier already; they are left out. */
	readonly duplicates: number;
}

/**
 * @param onDamage is told each line that is not whole ("line 17 (bytes …): …"), the torn end of one that is being written among them. Default: it throws.
 * @returns the header, and the rollouts in the file's order, a key once; to be iterated once.
 * @throws JournalError `unreadable`, `damaged` for a file that is no journal and, while iterating and without `onDamage`, for a damaged line
 */
export async function readJournal(file: string, { onDamage }: { onDamage?: (where: string) => void } = {}): Promise<ReadJournal> {
	const header = await readHeader(file);
	const index = new JournalIndex();
	let duplicates = 0;
	return {
		header,
		get duplicates() {
			return duplicates;
		},
		async *[Symbol.asyncIterator]() {
			for await (const line of scanEntries(file)) {
				const entry = entryOf(line);
				if (typeof entry !== "string") {
					if (index.add(entry.key, line.offset)) yield entry;
					else duplicates++;
				} else if (onDamage) onDamage(entry);
				else throw new JournalError("damaged", `${file}: ${entry}`);
			}
		},
	};
}

/** @throws JournalError `damaged` */
export async function readHeader(file: string): Promise<JournalHeader> {
	const header = await scanHeader(file);
	if (header !== undefined && typeof header !== "string") return header;
	throw new JournalError("damaged", `${file}: line 1: expected a journal's header, got ${header ?? "an empty file"}; is it a journal?`);
}

/** @returns the entry, or where and how the line is damaged. */
export function entryOf(line: ScannedLine): JournalEntry | string {
	if (line.key === undefined) return describeDamage(line);
	const entry = parseEntry(line.bytes);
	return typeof entry === "string" ? describeDamage({ ...line, damage: entry }) : entry;
}

/** Whether a file begins as a journal does. @throws JournalError `unreadable` */
export async function isJournal(file: string): Promise<boolean> {
	const header = await scanHeader(file);
	return header !== undefined && typeof header !== "string";
}

/** A journal's rollouts as `generateCoT` yields them, but in the journal's order, in which a record's need not stand together. @throws as `readJournal` */
export async function* readJournalRollouts(file: string, options: { onDamage?: (where: string) => void } = {}): AsyncGenerator<Rollout> {
	const journal = await readJournal(file, options);
	const { promptTemplate } = journal.header.configuration;
	for await (const { rollout } of journal) {
		yield { ...rollout, promptText: judgePromptText(fillTemplate(promptTemplate, rollout.record.prompt)) };
	}
}
