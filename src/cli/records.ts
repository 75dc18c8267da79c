/**
 * The data of a command, read once before the model is: bad rows show at once and not after hours of sampling, and the number of
 * records makes a time left. Reading it again gives the same records.
 */
import { rm } from "node:fs/promises";
import {
	checkImage,
	describeProblem,
	type LoadDatasetOptions,
	loadDataset,
	type PairMapping,
	type PreferenceRecord,
	parseSources,
	type RowCounts,
	type RowProblem,
	readPairMapping,
	writeJsonLines,
} from "../index.js";
import type { DataOptions, HeldOutOptions } from "./options.js";
import type { Session } from "./session.js";
import { UsageError } from "./usage-error.js";

export interface SurveyedRecords {
	records: AsyncIterable<PreferenceRecord>;
	/** Records, each shown order counted. */
	count: number;
	/** Samples of all of them; where `samplesOf` was given. */
	samples?: number;
	/** What the rows came to. */
	input: RowCounts;
}

const BAD_ROWS_SHOWN = 5;
/** Where so many rows more than allowed are bad, the rest need not be read to say so. */
const ENOUGH = 1000;

export interface SurveyOptions {
	/** File of the bad rows, written anew; not there where there are none. Default: they are only counted. */
	quarantine?: string;
	/** The records that are wanted. Default: all. */
	only?: (record: PreferenceRecord) => boolean;
	/** Samples of each, to count them. */
	samplesOf?: (record: PreferenceRecord) => number;
	/** Of more bad rows than allowed, for the message. Default: --max_bad_rows. */
	wayOut?: (badRows: number) => string;
}

const leaveOut = (badRows: number) => `correct them, or leave them out with --max_bad_rows ${badRows}`;

/**
 * @throws Error for more bad rows than allowed, or no record at all; DatasetError for a file that can't be read.
 */
export async function surveyRecords(
	options: DataOptions,
	session: Session,
	{ quarantine, only = () => true, samplesOf, wayOut = leaveOut }: SurveyOptions = {},
): Promise<SurveyedRecords> {
	const { data_path, max_bad_rows: allowed } = options;
	const sources = data_path.join(", ");
	const asked = await reading(options);
	const open = (budget: Pick<LoadDatasetOptions, "onBadRow" | "maxBadRows">) => loadDataset(data_path, { ...asked, ...budget });
	const counting = { open, allowed, only, samplesOf };
	const surveyed = quarantine === undefined ? await survey(counting, session) : await quarantined(quarantine, counting, session);
	const { count, samples, input } = surveyed;
	const badRows = input.rows - input.records;
	const where = quarantine !== undefined && badRows > 0 ? ` (all of them: ${quarantine})` : "";
	const bad = badRows === 1 ? "1 bad row" : `${badRows} bad rows`;
	if (badRows > allowed) {
		const atLeast = badRows > allowed + ENOUGH ? "at least " : "";
		throw new Error(`${sources}: ${atLeast}${bad}, at most ${allowed} allowed${where}; ${wayOut(badRows)}`);
	}
	if (input.ties > 0) session.note(`${input.ties === 1 ? "1 tie" : `${input.ties} ties`} left out: people preferred neither image`);
	if (badRows > 0) session.note(`${bad} left out${where}: ${describeKinds(input)}`);
	if (count === 0) throw new Error(`${sources}: expected at least one record, got none`);
	// The survey has reported them; more of them now would be rows that have gone bad meanwhile.
	const again = open({ onBadRow: () => undefined, maxBadRows: badRows });
	return { records: { [Symbol.asyncIterator]: () => wanted(again, only) }, count, input, ...(samplesOf && { samples }) };
}

async function* wanted(records: AsyncIterable<PreferenceRecord>, only: (record: PreferenceRecord) => boolean) {
	for await (const record of records) if (only(record)) yield record;
}

async function reading(options: DataOptions): Promise<LoadDatasetOptions> {
	const { data_mapping, image_cache: imageCache, shard } = options;
	const mapping = await readMapping("--data_mapping", data_mapping);
	const { image_root, limit, shuffle_buffer, orders, seed, max_caption_chars, keep_duplicates, check_images } = options;
	return {
		...{ imageRoot: image_root, limit, shuffleBuffer: shuffle_buffer, order: orders, seed, maxPromptLength: max_caption_chars },
		duplicates: keep_duplicates ? "keep" : "refuse",
		...{ mapping, imageCache, shard },
		...(check_images !== "exists" && { checkImage: (path) => checkImage(path, { decode: check_images === "decode" }) }),
	};
}

/** @param given a file, or a config file's mapping. @throws UsageError that names the flag. */
export async function readMapping(flag: string, given: string | PairMapping | undefined): Promise<PairMapping | undefined> {
	if (typeof given !== "string") return given;
	try {
		return await readPairMapping(given);
	} catch (error) {
		throw new UsageError(`${flag} ${given}: ${(error as Error).message}`);
	}
}

interface Counting extends Pick<SurveyOptions, "samplesOf"> {
	open: (budget: Pick<LoadDatasetOptions, "onBadRow">) => ReturnType<typeof loadDataset>;
	allowed: number;
	only: (record: PreferenceRecord) => boolean;
}
type Survey = Required<Pick<SurveyedRecords, "count" | "samples" | "input">>;

async function survey(
	{ open, allowed, only, samplesOf = () => 1 }: Counting,
	{ note, signal }: Session,
	write?: (problem: RowProblem) => Promise<void>,
): Promise<Survey> {
	let [count, samples, badRows] = [0, 0, 0];
	const stop = new Error("enough bad rows");
	const records = open({
		async onBadRow(problem) {
			if (++badRows <= BAD_ROWS_SHOWN) note(describeProblem(problem));
			await write?.(problem);
			if (badRows > allowed + ENOUGH) throw stop;
		},
	});
	try {
		for await (const record of records) {
			signal.throwIfAborted();
			if (!only(record)) continue;
			count++;
			samples += samplesOf(record);
		}
	} catch (error) {
		if (error !== stop) throw error;
	}
	return { count, samples, input: records.counts };
}

async function quarantined(file: string, counting: Counting, session: Session): Promise<Survey> {
	const surveyed = await writeJsonLines<object, Survey>(file, (write) =>
		survey(counting, session, (problem) => write({ message: describeProblem(problem), ...problem })),
	);
	if (surveyed.input.rows === surveyed.input.records) await rm(file);
	return surveyed;
}

const describeKinds = ({ bad }: RowCounts) =>
	Object.entries(bad)
		.map(([kind, rows]) => `${rows} ${kind}`)
		.join(", ");

/** For the text of the statistics. */
export function formatInput(input: RowCounts): string {
	const { rows, records, bad, ties } = input;
	const kinds = Object.entries(bad).map(([kind, count]) => `rows quarantined as ${kind}: ${count}\n`);
	return `${ties > 0 ? `ties left out: ${ties}\n` : ""}rows read: ${rows}\nrows quarantined: ${rows - records}\n${kinds.join("")}`;
}

/** Held-out pairs, both ways round; undefined where none are given. */
export async function surveyHeldOut(options: HeldOutOptions, session: Session): Promise<SurveyedRecords | undefined> {
	const { eval_data_path: data_path, eval_image_root: image_root, eval_limit: limit, seed } = options;
	if (data_path === undefined) return undefined;
	const data_mapping = await readMapping("--eval_data_mapping", options.eval_data_mapping);
	const checks = {
		check_images: "header",
		keep_duplicates: true,
		max_caption_chars: undefined,
		max_bad_rows: 0,
		image_cache: undefined,
		shard: undefined,
	} as const;
	const held = { data_path, data_mapping, image_root, limit, seed, orders: "both", shuffle_buffer: 0, ...checks } as const;
	return surveyRecords(held, session, { wayOut: () => "correct them, or take them out of the held-out pairs" });
}

/** What `schema:path@weight` sources name: files, folders, patterns. */
export function dataFiles(sources: readonly string[]): string[] {
	return sources.flatMap((source) => parseSources(source).map(({ path }) => path));
}
