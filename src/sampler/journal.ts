/**
 * An append-only journal of finished rollouts: what is in it need never be drawn again, whatever happens to the process, the disk or the machine.
 *
 *   line 1       the configuration under which all of it was drawn
 *   every other  one rollout, with its key and a checksum
 *
 * An append is acknowledged when its line is on the disk. Opening reads the file once, checks every line and keeps 23 to 46 bytes of each: a torn end is cut
 * off (its rollouts are drawn again), a damaged line before a whole one is an error that says where. Nothing depends on the clock.
 */
import { type FileHandle, open, rename, stat, truncate } from "node:fs/promises";
import { writeWhole } from "../checkpoint/write-whole.js";
import { configurationDigest, differencesOf, type JournalConfiguration } from "./journal-configuration.js";
import { JournalError } from "./journal-error.js";
import { JournalIndex } from "./journal-index.js";
import { encodeEntry, encodeHeader, type JournalEntry, type JournalHeader, parseEntry, type StoredRollout } from "./journal-line.js";
import { lockJournal } from "./journal-lock.js";
import { JournalWriter } from "./journal-writer.js";
import { describeDamage, readLineAt, type ScannedLine, scanEntries, scanHeader } from "./scan-journal.js";

export interface OpenJournalOptions {
	/** What every rollout in it is drawn under; a journal of another one is refused. */
	configuration: JournalConfiguration;
	/** Facts for `inspect`, kept from the first opening. Default: none. */
	notes?: JournalHeader["notes"];
	/** Begin a new one; one that is there keeps its content under another name. Default false. */
	forceNew?: boolean;
}

/** What opening found. */
export interface JournalState {
	/** Bytes of a torn end that were cut off. */
	cutBytes: number;
	/** Lines whose key stood earlier in the file already; they are not read. */
	duplicates: number;
	/** Where `forceNew` has put the journal that was there. */
	setAside?: string;
}

/**
 * Opens a journal for writing, or begins one.
 * @throws JournalError: `locked` where another process writes it, `mismatch` for another configuration, `damaged` for a broken header or a
 *   damaged line with whole ones after it, `unwritable` where the folder can't be written.
 */
export async function openJournal(file: string, { configuration, notes = {}, forceNew = false }: OpenJournalOptions): Promise<Journal> {
	const lost = new AbortController();
	const unlock = await lockJournal(file, (error) => lost.abort(error));
	try {
		const setAside = forceNew ? await moveAside(file) : undefined;
		if (!(await sizeOf(file))) await unwritableIfFails(file, () => writeHeader(file, { configuration, notes }));
		const header = await checkHeader(file, configuration);
		const { index, ...state } = await indexLines(file);
		const writer = await unwritableIfFails(file, async () => JournalWriter.open(file, (await stat(file)).size));
		lost.signal.addEventListener("abort", () => writer.fail(new Error("another process has taken it over while this one was suspended")));
		const reader = await open(file, "r");
		return new Journal(file, header, { ...state, ...(setAside !== undefined && { setAside }) }, { index, writer, reader, unlock });
	} catch (error) {
		await unlock();
		throw error;
	}
}

interface Parts {
	index: JournalIndex;
	writer: JournalWriter;
	reader: FileHandle;
	unlock: () => Promise<void>;
}

/** An open journal; close it, or declare it with `await using`. */
export class Journal implements AsyncDisposable {
	/** Of the configuration; part of every key. */
	readonly digest: string;
	private closed: Promise<void> | undefined;
	/** Keys that are being written. */
	private readonly underWay = new Map<string, Promise<void>>();

	/** Made by `openJournal`. */
	constructor(
		readonly file: string,
		readonly header: JournalHeader,
		readonly state: JournalState,
		private readonly parts: Parts,
	) {
		this.digest = configurationDigest(header.configuration);
	}

	/** Rollouts on the disk. */
	get size(): number {
		return this.parts.index.size;
	}

	/** Whether the rollout of this key is on the disk. */
	has(key: string): boolean {
		return this.parts.index.offsetOf(key) !== undefined;
	}

	/**
	 * Writes a rollout; a key that is there already is left as it is.
	 * @returns when it is on the disk
	 * @throws JournalError `unwritable`; every later append then fails, too
	 */
	append(key: string, rollout: StoredRollout): Promise<void> {
		if (this.has(key)) return Promise.resolve();
		const writing = this.underWay.get(key) ?? this.write(key, rollout).finally(() => this.underWay.delete(key));
		this.underWay.set(key, writing);
		return writing;
	}

	/** @throws RangeError for a key that is not there; JournalError `damaged` where the file was changed since it was opened */
	async read(key: string): Promise<JournalEntry> {
		const offset = this.parts.index.offsetOf(key);
		if (offset === undefined) throw new RangeError(`${this.file}: expected a key that is in the journal, got ${key}; ask has(key) first`);
		const entry = parseEntry(await readLineAt(this.parts.reader, offset));
		const wrong = typeof entry === "string" ? entry : entry.key === key ? undefined : `expected key ${key}, got ${entry.key}`;
		if (typeof entry !== "string" && wrong === undefined) return entry;
		throw new JournalError("damaged", `${this.file}: the line at byte ${offset}: ${wrong}; was it changed meanwhile?`);
	}

	/** Rollouts in the file's order, those on the disk when each is asked for; a key once. */
	async *[Symbol.asyncIterator](): AsyncGenerator<JournalEntry> {
		for await (const { key, offset } of scanEntries(this.file)) {
			if (key !== undefined && this.parts.index.offsetOf(key) === offset) yield await this.read(key);
		}
	}

	/** Waits for what is under way and gives the lock back. */
	close(): Promise<void> {
		this.closed ??= this.parts.writer
			.close()
			.then(() => this.parts.reader.close())
			.finally(this.parts.unlock);
		return this.closed;
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.close();
	}

	private async write(key: string, stored: StoredRollout): Promise<void> {
		const { record, sampleIndex, seed, completion, numTokens, finishReason, forced, score } = stored;
		const optional = { ...(forced && { forced }), ...(score && { score }) };
		const rollout = { record, sampleIndex, seed, completion, numTokens, finishReason, ...optional };
		const line = encodeEntry({ key, time: new Date().toISOString(), rollout });
		try {
			this.parts.index.add(key, await this.parts.writer.append(line));
		} catch (cause) {
			throw unwritable(this.file, cause, `; the ${this.size} rollouts in it are safe, and the same command goes on from them`);
		}
	}
}

async function sizeOf(file: string): Promise<number> {
	try {
		return (await stat(file)).size;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
		throw error;
	}
}

/** @returns the new name, such as `journal.jsonl.old-2`; undefined where there was none. */
async function moveAside(file: string): Promise<string | undefined> {
	if ((await sizeOf(file)) === 0) return undefined;
	for (let i = 1; ; i++) {
		const name = `${file}.old-${i}`;
		if ((await sizeOf(name)) > 0) continue;
		await rename(file, name);
		return name;
	}
}

async function writeHeader(file: string, header: JournalHeader): Promise<void> {
	await writeWhole(file, async (handle) => handle.writeFile(encodeHeader(header)));
}

async function checkHeader(file: string, configuration: JournalConfiguration): Promise<JournalHeader> {
	const header = await scanHeader(file);
	if (header === undefined || typeof header === "string") {
		const message = `${file}: line 1: expected a journal's header, got another: ${header}; name another journal, or begin a new one`;
		throw new JournalError("damaged", message);
	}
	const differences = differencesOf(header.configuration, configuration);
	if (differences.length === 0) return header;
	const message = `${file}: is of another configuration:\n  ${differences.join("\n  ")}\nuse the same one, another journal, or begin a new one`;
	throw new JournalError("mismatch", message, { differences });
}

/** Reads all lines, cuts a torn end off. */
async function indexLines(file: string): Promise<{ index: JournalIndex } & Pick<JournalState, "cutBytes" | "duplicates">> {
	const index = new JournalIndex();
	let [duplicates, end] = [0, 0];
	let damaged: ScannedLine | undefined;
	for await (const line of scanEntries(file)) {
		end = line.end;
		if (line.key === undefined) damaged ??= line;
		else if (damaged) throw damagedInside(file, damaged, line.number);
		else if (!index.add(line.key, line.offset)) duplicates++;
	}
	if (!damaged) return { index, duplicates, cutBytes: 0 };
	const { offset } = damaged;
	await unwritableIfFails(file, () => truncate(file, offset));
	return { index, duplicates, cutBytes: end - offset };
}

function damagedInside(file: string, damaged: ScannedLine, whole: number): JournalError {
	const wayOut = `\`tfjs-rft compact ${file}\` takes such lines out, and their rollouts are drawn again`;
	return new JournalError("damaged", `${file}: ${describeDamage(damaged)}, and line ${whole} after it is whole; ${wayOut}`);
}

function unwritable(file: string, cause: unknown, safe = ""): JournalError {
	const message = cause instanceof Error ? cause.message : String(cause);
	return new JournalError("unwritable", `${file}: can't be written: ${message}${safe}`, { cause });
}

async function unwritableIfFails<T>(file: string, action: () => Promise<T>): Promise<T> {
	try {
		return await action();
	} catch (cause) {
		throw unwritable(file, cause);
	}
}
