/**
 * Preference records from data files, streamed: one row is in memory at a time (and a shuffle buffer's worth, where asked for).
 *
 * HPDv3 stores the preferred image first, so the stored order gives the answer away ("Image 1" is always right); the default
 * order is therefore random, drawn per record from its content and the seed.
 */
import { dirname, resolve } from "node:path";
import { checkRow } from "../files/check-row.js";
import { DatasetError, type RowProblem } from "../files/dataset-error.js";
import { checkJsonFile, type JsonRow, readJsonRows } from "../files/read-json-rows.js";
import { type BadRowOptions, type RowCounts, RowTally } from "./bad-rows.js";
import { contentHash } from "./content-hash.js";
import { fromHpdv3, hpdv3Row, type RowContent } from "./hpdv3.js";
import { keyOf } from "./key-of.js";
import { KeySet } from "./key-set.js";
import type { PreferenceRecord, ShownOrder } from "./preference-record.js";
import { type ImageRoot, openImageRoot, resolveImage } from "./resolve-image.js";
import { shuffleThroughBuffer } from "./shuffle-buffer.js";

/** How a record's images are shown: as stored, in an order drawn from (seed, key), or once each way. */
export type OrderPolicy = "stored" | "random" | "both";

export interface LoadDatasetOptions extends BadRowOptions {
	/** The folder that image paths are relative to and may not leave. Default: each data file's own folder. */
	imageRoot?: string;
	/** At most so many records, over all sources, after shuffling; `order: "both"` counts a record once and yields it twice. Default: all. */
	limit?: number;
	/** Records held to shuffle the stream; 0 (the default) keeps the files' order. See `shuffleThroughBuffer`. */
	shuffleBuffer?: number;
	/** For the shuffle and for random orders. Default 0. */
	seed?: number;
	/** Default `random`. */
	order?: OrderPolicy;
	/** Longer captions (UTF-16 units) make a bad row: no judge reads them. Default 100,000. */
	maxPromptLength?: number;
	/** `refuse`: a row whose key an earlier one has is a bad row. `keep`: it is one more record of that key. Default `refuse`. */
	duplicates?: "refuse" | "keep";
	/**
	 * Looks at each image file, beside its being there, inside the root and not empty; what it returns makes a bad row. `checkImage` reads the
	 * header; `(path) => checkImage(path, { decode: true })` the whole picture. Default: images are first read when they are shown.
	 */
	checkImage?: (path: string) => Promise<ImageFault | undefined>;
}

/** What is wrong with an image; `ImageError` is one. */
export interface ImageFault extends Pick<RowProblem, "kind"> {
	/** For a person. */
	reason: string;
}

/** Records, and what their rows came to; see `loadDataset`. */
export interface PreferenceRecords extends AsyncIterable<PreferenceRecord> {
	/** Of the latest iteration, so far. */
	readonly counts: RowCounts;
}

const hpdv3Content = hpdv3Row.transform(fromHpdv3);

/** How a source's rows are read, by the name before the colon. */
const SCHEMAS: Record<string, (value: unknown) => ReturnType<typeof checkRow<RowContent>>> = {
	hpdv3: (value) => checkRow(hpdv3Content, value),
};

interface Source {
	name: string;
	file: string;
}

/** How a row becomes a record. */
type RowOptions = Required<Pick<LoadDatasetOptions, "maxPromptLength" | "duplicates">> &
	Pick<LoadDatasetOptions, "imageRoot" | "checkImage">;

/**
 * @param sources `schema:path` each, such as `hpdv3:data/train.json`; a JSON array or JSON Lines, read one after the other.
 * @returns the records; iterating again reads the files again and gives the same records.
 * @throws TypeError at once for a source without a known schema; RangeError for options out of range. While iterating: DatasetError
 *   for a file that can't be read (all are opened before the first record), for a bad row without `onBadRow`, and for more than `maxBadRows`.
 */
export function loadDataset(sources: string | readonly string[], options: LoadDatasetOptions = {}): PreferenceRecords {
	const { limit = Number.POSITIVE_INFINITY, shuffleBuffer = 0, seed = 0, order = "random" } = options;
	const { imageRoot, checkImage, maxPromptLength = 100_000, duplicates = "refuse" } = options;
	const parsed = (typeof sources === "string" ? [sources] : sources).map(parseSource);
	if (parsed.length === 0) throw new TypeError('loadDataset: expected at least one source such as "hpdv3:path.json", got none');
	checkCount("limit", limit, 0);
	checkCount("shuffleBuffer", shuffleBuffer, 0);
	checkCount("seed", seed, Number.MIN_SAFE_INTEGER);
	checkCount("maxPromptLength", maxPromptLength, 1);
	checkCount("maxBadRows", options.maxBadRows ?? 0, 0);
	if (!["stored", "random", "both"].includes(order)) {
		throw new RangeError(`loadDataset: order: expected stored, random or both, got ${JSON.stringify(order)}`);
	}
	let tally = new RowTally();
	return {
		get counts() {
			return tally.counts;
		},
		async *[Symbol.asyncIterator]() {
			const own = new RowTally(options);
			tally = own;
			if (limit === 0) return;
			const rows = readRecords(parsed, { imageRoot, checkImage, maxPromptLength, duplicates }, own);
			const records = shuffleThroughBuffer(rows, shuffleBuffer, seed);
			let count = 0;
			for await (const record of records) {
				for (const shown of ordersOf(record, order, seed)) yield { ...record, order: shown };
				if (++count >= limit) return;
			}
		},
	};
}

function checkCount(name: string, value: number, least: number): void {
	if ((Number.isSafeInteger(value) || (name !== "shuffleBuffer" && value === Number.POSITIVE_INFINITY)) && value >= least) return;
	throw new RangeError(`loadDataset: ${name}: expected a whole number${least >= 0 ? `, ${least} or more` : ""}, got ${value}`);
}

function parseSource(source: string): Source {
	const colon = source.indexOf(":");
	const name = source.slice(0, Math.max(colon, 0));
	const known = Object.keys(SCHEMAS).join(", ");
	if (!Object.hasOwn(SCHEMAS, name)) {
		throw new TypeError(
			`source ${JSON.stringify(source)}: expected "schema:path" with one of the schemas ${known}, got ${name || "no schema"}`,
		);
	}
	const file = source.slice(colon + 1);
	if (file === "") throw new TypeError(`source ${JSON.stringify(source)}: expected a path after "${name}:", got nothing`);
	return { name, file };
}

function ordersOf(record: PreferenceRecord, policy: OrderPolicy, seed: number): ShownOrder[] {
	const stored: ShownOrder = [0, 1];
	const swapped: ShownOrder = [1, 0];
	if (policy === "both") return [stored, swapped];
	if (policy === "stored") return [stored];
	return [contentHash("order", seed, record.key).readUInt8(0) & 1 ? swapped : stored];
}

async function* readRecords(sources: Source[], options: RowOptions, tally: RowTally): AsyncGenerator<PreferenceRecord> {
	for (const { file } of sources) await checkJsonFile(file);
	const keys = new KeySet();
	for (const source of sources) {
		const root = await openRoot(options.imageRoot ?? dirname(resolve(source.file)), source.file);
		for await (const row of readJsonRows(source.file)) {
			const record = await readRecord(row, source, root, options);
			if (!("key" in record)) await tally.bad(record);
			else if (options.duplicates === "refuse" && !keys.add(record.key)) await tally.bad(duplicateOf(record, row));
			else {
				tally.record();
				yield record;
			}
		}
	}
}

async function openRoot(folder: string, file: string): Promise<ImageRoot> {
	try {
		return await openImageRoot(folder);
	} catch (cause) {
		throw new DatasetError(file, `${file}: image root ${folder}: expected a folder, got ${cause}; give imageRoot`, { cause });
	}
}

async function readRecord(
	read: JsonRow,
	{ name, file }: Source,
	root: ImageRoot,
	{ maxPromptLength, checkImage }: RowOptions,
): Promise<PreferenceRecord | RowProblem> {
	const { row } = read;
	if ("expected" in read) return { file, field: "", ...read };
	const checked = SCHEMAS[name](read.value);
	if (!checked.ok) {
		const { field, kind, expected, got } = checked;
		return { file, row, field, kind, expected, got, ...(kind !== "too-deep" && { value: read.value }) };
	}
	const { paths, pathFields, ...content } = checked.value;
	const bad = (field: string, kind: RowProblem["kind"], expected: string, got: string): RowProblem => {
		return { file, row, field, kind, expected, got, value: read.value };
	};
	if (content.prompt.length > maxPromptLength) {
		return bad("prompt", "prompt-too-long", `at most ${maxPromptLength} characters`, `${content.prompt.length}`);
	}
	const images: string[] = [];
	for (const [i, image] of (await Promise.all(paths.map((path) => resolveImage(path, root)))).entries()) {
		if (!image.ok) return bad(pathFields[i], image.kind, image.expected, image.got);
		images.push(image.path);
	}
	for (const [i, fault] of (await Promise.all(images.map((image) => checkImage?.(image)))).entries()) {
		if (fault) return bad(pathFields[i], fault.kind, "an image that can be read", `${images[i]}, which ${fault.reason}`);
	}
	return {
		key: keyOf({ prompt: content.prompt, paths, preferred: content.preferred }),
		...content,
		images: [images[0], images[1]],
		order: [0, 1],
		source: { name, file, row },
	};
}

function duplicateOf({ source: { file, row } }: PreferenceRecord, read: JsonRow): RowProblem {
	const [expected, got] = ['a pair that is not there yet (duplicates: "keep" takes it)', "an earlier row's caption, images and preference"];
	return { file, row, field: "", kind: "duplicate", expected, got, value: "value" in read ? read.value : undefined };
}
