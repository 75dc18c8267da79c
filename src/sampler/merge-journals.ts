/**
 * Journals of one configuration into one, as several machines write them, and one journal into itself without what it has twice or damaged. Streamed: a
 * key's place is all that is held.
 */
import { existsSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { writeWhole } from "../checkpoint/write-whole.js";
import { differencesOf } from "./journal-configuration.js";
import { JournalError } from "./journal-error.js";
import { JournalIndex } from "./journal-index.js";
import { encodeHeader, type JournalEntry, parseEntry } from "./journal-line.js";
import { lockJournal } from "./journal-lock.js";
import { entryOf, readHeader } from "./read-journal.js";
import { readLineAt, scanEntries } from "./scan-journal.js";

const BUFFER_BYTES = 2 ** 20;
const LINE_FEED = Buffer.from("\n");

export interface MergeReport {
	/** Rollouts that were written. */
	rollouts: number;
	/** Lines that said what an earlier one did. */
	duplicates: number;
	/** Lines that were left out, with the reason: "a.jsonl: line 17 (bytes …): …". */
	damaged: string[];
}

/**
 * Writes `output` from `inputs`, in their order; it appears whole.
 * @throws JournalError `mismatch` where configurations differ or a rollout is in two of them with different texts; `damaged` for a file that
 *   is no journal; Error where `output` is there already
 */
export async function mergeJournals(output: string, inputs: readonly string[]): Promise<MergeReport> {
	if (inputs.length === 0) throw new RangeError("mergeJournals: expected at least one journal, got none");
	if (existsSync(output)) throw new Error(`${output}: is there already; choose another name`);
	return merge(output, inputs);
}

/**
 * Writes a journal again without duplicates, damaged lines and a torn end. Rollouts that are lost with a damaged line are drawn again by the next run.
 * @throws as mergeJournals does; JournalError `locked` while another process writes it
 */
export async function compactJournal(file: string): Promise<MergeReport> {
	await readHeader(file);
	const lost = new AbortController();
	const unlock = await lockJournal(file, (error) => lost.abort(error));
	try {
		return await merge(file, [file], lost.signal);
	} finally {
		await unlock();
	}
}

async function merge(output: string, inputs: readonly string[], stop?: AbortSignal): Promise<MergeReport> {
	const header = await readHeader(inputs[0]);
	for (const input of inputs.slice(1)) {
		const differences = differencesOf(header.configuration, (await readHeader(input)).configuration);
		if (differences.length === 0) continue;
		const listed = differences.map((line) => line.replace("in the journal", `in ${inputs[0]}`).replace(/now$/, `in ${input}`));
		const message = `${input}: is of another configuration than ${inputs[0]}:\n  ${listed.join("\n  ")}`;
		throw new JournalError("mismatch", message, { differences: listed });
	}
	const report: MergeReport = { rollouts: 0, duplicates: 0, damaged: [] };
	await writeWhole(output, async (handle) => {
		const target = new MergeTarget(handle);
		await target.add(encodeHeader(header));
		for (const input of inputs) await copyInto(target, input, report);
		await target.flush();
		stop?.throwIfAborted();
	});
	return report;
}

async function copyInto(target: MergeTarget, input: string, report: MergeReport): Promise<void> {
	for await (const line of scanEntries(input)) {
		const entry = entryOf(line);
		if (typeof entry === "string") report.damaged.push(`${input}: ${entry}`);
		else if (await target.addEntry(entry.key, Buffer.concat([line.bytes, LINE_FEED]))) report.rollouts++;
		else {
			const difference = differenceBetween(await target.read(entry.key), entry);
			if (difference !== undefined) throw disagreement(input, line.number, entry, difference);
			report.duplicates++;
		}
	}
}

/** The two texts of one key must agree; where, when and from which row they were drawn need not. */
function differenceBetween({ rollout: first }: JournalEntry, { rollout: second }: JournalEntry): string | undefined {
	const fields = ["completion", "numTokens", "finishReason", "seed", "sampleIndex"] as const;
	const field = fields.find((name) => first[name] !== second[name]);
	return field && `${field}: expected ${JSON.stringify(first[field]).slice(0, 120)}, got ${JSON.stringify(second[field]).slice(0, 120)}`;
}

function disagreement(input: string, number: number, { key, rollout }: JournalEntry, difference: string): JournalError {
	const which = `sample ${rollout.sampleIndex} of record ${rollout.record.key} (${key})`;
	const message = `${input}: line ${number}: ${which} is there with another result, ${difference}; leave one of the journals out`;
	return new JournalError("mismatch", message, { differences: [difference] });
}

/** The file being written: buffered, and readable at what was written. */
class MergeTarget {
	private readonly index = new JournalIndex();
	private buffered: Buffer[] = [];
	private bufferedBytes = 0;
	private end = 0;

	constructor(private readonly handle: FileHandle) {}

	async add(line: Buffer): Promise<void> {
		this.buffered.push(line);
		this.bufferedBytes += line.length;
		this.end += line.length;
		if (this.bufferedBytes > BUFFER_BYTES) await this.flush();
	}

	/** @param line with its line feed @returns false where the key is there already */
	async addEntry(key: string, line: Buffer): Promise<boolean> {
		if (!this.index.add(key, this.end)) return false;
		await this.add(line);
		return true;
	}

	async read(key: string): Promise<JournalEntry> {
		await this.flush();
		const entry = parseEntry(await readLineAt(this.handle, this.index.offsetOf(key) ?? 0));
		if (typeof entry === "string") throw new Error(`merging: a line that was just written can't be read back: ${entry}`);
		return entry;
	}

	async flush(): Promise<void> {
		const lines = this.buffered.splice(0);
		this.bufferedBytes = 0;
		await this.handle.appendFile(Buffer.concat(lines));
	}
}
