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
import { contentHash } from "./content-hash.js";
import { fromHpdv3, hpdv3Row, type RowContent } from "./hpdv3.js";
import { keyOf } from "./key-of.js";
import type { PreferenceRecord, ShownOrder } from "./preference-record.js";
import { type ImageRoot, openImageRoot, resolveImage } from "./resolve-image.js";
import { shuffleThroughBuffer } from "./shuffle-buffer.js";

/** How a record's images are shown: as stored, in an order drawn from (seed, key), or once each way. */
export type OrderPolicy = "stored" | "random" | "both";

export interface LoadDatasetOptions {
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
	/** Called once for each bad row, with its first bad field; the row is left out. Without it a bad row throws. */
	onBadRow?: (problem: RowProblem) => void;
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

/**
 * @param sources `schema:path` each, such as `hpdv3:data/train.json`; a JSON array or JSON Lines, read one after the other.
 * @returns the records; iterating again reads the files again and gives the same records.
 * @throws TypeError at once for a source without a known schema; RangeError for options out of range. While iterating: DatasetError
 *   for a file that can't be read (all are opened before the first record) and, without `onBadRow`, for a bad row.
 */
export function loadDataset(
	sources: string | readonly string[],
	{ imageRoot, limit = Number.POSITIVE_INFINITY, shuffleBuffer = 0, seed = 0, order = "random", onBadRow }: LoadDatasetOptions = {},
): AsyncIterable<PreferenceRecord> {
	const parsed = (typeof sources === "string" ? [sources] : sources).map(parseSource);
	if (parsed.length === 0) throw new TypeError('loadDataset: expected at least one source such as "hpdv3:path.json", got none');
	checkCount("limit", limit, 0);
	checkCount("shuffleBuffer", shuffleBuffer, 0);
	checkCount("seed", seed, Number.MIN_SAFE_INTEGER);
	if (!["stored", "random", "both"].includes(order)) {
		throw new RangeError(`loadDataset: order: expected stored, random or both, got ${JSON.stringify(order)}`);
	}
	return {
		async *[Symbol.asyncIterator]() {
			if (limit === 0) return;
			const records = shuffleThroughBuffer(readRecords(parsed, imageRoot, onBadRow), shuffleBuffer, seed);
			let count = 0;
			for await (const record of records) {
				for (const shown of ordersOf(record, order, seed)) yield { ...record, order: shown };
				if (++count >= limit) return;
			}
		},
	};
}

function checkCount(name: string, value: number, least: number): void {
	if ((Number.isSafeInteger(value) || (name === "limit" && value === Number.POSITIVE_INFINITY)) && value >= least) return;
	throw new RangeError(`loadDataset: ${name}: expected a whole number${least === 0 ? ", 0 or more" : ""}, got ${value}`);
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

async function* readRecords(
	sources: Source[],
	imageRoot: string | undefined,
	onBadRow: LoadDatasetOptions["onBadRow"],
): AsyncGenerator<PreferenceRecord> {
	for (const { file } of sources) await checkJsonFile(file);
	for (const source of sources) {
		const root = await openRoot(imageRoot ?? dirname(resolve(source.file)), source.file);
		for await (const row of readJsonRows(source.file)) {
			const record = await readRecord(row, source, root);
			if ("key" in record) yield record;
			else if (onBadRow) onBadRow(record);
			else throw DatasetError.ofRow(record, "correct the row, or give onBadRow to go on without such rows");
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

async function readRecord(read: JsonRow, { name, file }: Source, root: ImageRoot): Promise<PreferenceRecord | RowProblem> {
	const { row } = read;
	if ("expected" in read) return { file, row, field: "", expected: read.expected, got: read.got };
	const checked = SCHEMAS[name](read.value);
	if (!checked.ok) return { file, row, field: checked.field, expected: checked.expected, got: checked.got };
	const { paths, pathFields, ...content } = checked.value;
	const images: string[] = [];
	for (const [i, image] of (await Promise.all(paths.map((path) => resolveImage(path, root)))).entries()) {
		if (!image.ok) return { file, row, field: pathFields[i], expected: image.expected, got: image.got };
		images.push(image.path);
	}
	return {
		key: keyOf({ prompt: content.prompt, paths, preferred: content.preferred }),
		...content,
		images: [images[0], images[1]],
		order: [0, 1],
		source: { name, file, row },
	};
}
