/**
 * Preference records from data files, streamed: a few rows are in memory at a time (and a shuffle buffer's worth, where asked for), whose images are
 * looked up together.
 *
 * HPDv3 stores the preferred image first, so the stored order gives the answer away ("Image 1" is always right); the default
 * order is therefore random, drawn per record from its content and the seed.
 */
import { join, resolve } from "node:path";
import { cacheFolder } from "../backend/setup/cache-folder.js";
import type { RowProblem } from "../files/dataset-error.js";
import { expandPath } from "../files/expand-path.js";
import { checkDataFile, readRows } from "../files/read-rows.js";
import { type BadRowOptions, type RowCounts, RowTally } from "./bad-rows.js";
import { contentHash } from "./content-hash.js";
import { interleave } from "./interleave.js";
import { KeySet } from "./key-set.js";
import { mapAhead } from "./map-ahead.js";
import { type ParsedSource, pairSource, parseSources } from "./parse-source.js";
import type { PreferenceRecord, ShownOrder } from "./preference-record.js";
import { type ImageFault, openRoots, type RecordOptions, readRecord } from "./read-record.js";
import { parseShard, type Shard, type ShardName } from "./shard.js";
import { shuffleThroughBuffer } from "./shuffle-buffer.js";
import { checkPairMapping, type PairMapping } from "./sources/mapped-pairs.js";
import { type PairSource, TIE } from "./sources/pair-source.js";

/** Rows whose images are looked up at once. More are hardly faster; and rows may hold their images themselves. */
const AHEAD = 16;

/** How a record's images are shown: as stored, in an order drawn from (seed, key), or once each way. */
export type OrderPolicy = "stored" | "random" | "both";

export interface LoadDatasetOptions extends BadRowOptions {
	/** The folder that image paths are relative to and may not leave. Default: each data file's own folder, or what its source says. */
	imageRoot?: string;
	/** Where images that data files hold themselves (Parquet, tar) are written to, once each. Default: `images` in `$TFJS_RFT_CACHE` or `~/.cache/tfjs-rft`. */
	imageCache?: string;
	/** For `pairs:` sources: where in a row its caption, images and preference are. */
	mapping?: PairMapping;
	/** `i/n`, from `1/n` to `n/n`: that part of the records, by their keys; together they are all, and none is in two. Default: all. */
	shard?: ShardName;
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

/** Records, and what their rows came to; see `loadDataset`. */
export interface PreferenceRecords extends AsyncIterable<PreferenceRecord> {
	/** Of the latest iteration, so far. */
	readonly counts: RowCounts;
}

/**
 * @param sources `schema:path` each, such as `hpdv3:data/train.json`. The path names a file, a folder of shards or a pattern; JSON, JSON Lines,
 *   Parquet and tar are known, also as gzip or Zstandard. Sources are read one after the other; with weights (`hpdv3:a.json@0.7`,
 *   `genai_bench:b.parquet@0.3`) they are mixed by the seed, until the last one has ended.
 * @returns the records; iterating again reads the files again and gives the same records.
 * @throws TypeError at once for a source without a known schema, and for a mapping that is none or missing; RangeError for options out of
 *   range. While iterating: DatasetError for a file that can't be read (all are opened before the first record), for a bad row without
 *   `onBadRow`, and for more than `maxBadRows`.
 */
export function loadDataset(sources: string | readonly string[], options: LoadDatasetOptions = {}): PreferenceRecords {
	const { limit = Number.POSITIVE_INFINITY, shuffleBuffer = 0, seed = 0, order = "random", mapping, shard } = options;
	const { imageCache = join(cacheFolder(), "images"), checkImage, maxPromptLength = 100_000, duplicates = "refuse" } = options;
	if (mapping) checkPairMapping(mapping, "loadDataset: mapping");
	const opened = parseSources(sources).map((source) => ({ ...source, pairs: pairSource(source, mapping) }));
	checkCount("limit", limit, 0);
	checkCount("shuffleBuffer", shuffleBuffer, 0);
	checkCount("seed", seed, Number.MIN_SAFE_INTEGER);
	checkCount("maxPromptLength", maxPromptLength, 1);
	checkCount("maxBadRows", options.maxBadRows ?? 0, 0);
	if (!["stored", "random", "both"].includes(order)) {
		throw new RangeError(`loadDataset: order: expected stored, random or both, got ${JSON.stringify(order)}`);
	}
	const part = shard === undefined ? undefined : parseShard(shard);
	let tally = new RowTally();
	return {
		get counts() {
			return tally.counts;
		},
		async *[Symbol.asyncIterator]() {
			const own = new RowTally(options);
			tally = own;
			if (limit === 0) return;
			const reading: Reading = { imageRoot: options.imageRoot, imageCache: resolve(imageCache), checkImage, maxPromptLength, shard: part };
			const rows = readRecords(opened, reading, seed, duplicates, own);
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

function ordersOf(record: PreferenceRecord, policy: OrderPolicy, seed: number): ShownOrder[] {
	const stored: ShownOrder = [0, 1];
	const swapped: ShownOrder = [1, 0];
	if (policy === "both") return [stored, swapped];
	if (policy === "stored") return [stored];
	return [contentHash("order", seed, record.key).readUInt8(0) & 1 ? swapped : stored];
}

/** How sources are read. */
interface Reading extends RecordOptions {
	imageRoot?: string;
	shard?: Shard;
}

interface OpenedSource extends ParsedSource {
	pairs: PairSource;
}

async function* readRecords(
	sources: readonly OpenedSource[],
	reading: Reading,
	seed: number,
	duplicates: LoadDatasetOptions["duplicates"],
	tally: RowTally,
): AsyncGenerator<PreferenceRecord> {
	const streams = [];
	for (const source of sources) {
		const files = await expandPath(source.path);
		for (const file of files) await checkDataFile(file);
		streams.push({ items: readFiles(source, files, reading), weight: source.weight ?? 1 });
	}
	const mixed = sources[0].weight === undefined ? inTurn(streams) : interleave(streams, seed);
	const keys = new KeySet();
	for await (const found of mixed) {
		if (found === TIE) tally.tie();
		else if (!("key" in found)) await tally.bad(found);
		else if (duplicates === "refuse" && !keys.add(found.key)) await tally.bad(duplicateOf(found));
		else {
			tally.record();
			yield found;
		}
	}
}

async function* inTurn<T>(streams: readonly { items: AsyncIterable<T> }[]): AsyncGenerator<T> {
	for (const { items } of streams) yield* items;
}

async function* readFiles(
	{ name, pairs }: OpenedSource,
	files: readonly string[],
	reading: Reading,
): AsyncGenerator<PreferenceRecord | RowProblem | typeof TIE> {
	for (const file of files) {
		const roots = await openRoots(reading.imageRoot ?? pairs.imageRoot(file), reading.imageCache, file);
		const records = mapAhead(pairs.read(readRows(file)), (read) => readRecord(read, { name, file }, roots, reading), AHEAD);
		for await (const found of records) if (found !== undefined) yield found;
	}
}

function duplicateOf({ source: { file, row }, prompt, images, preferred }: PreferenceRecord): RowProblem {
	const [expected, got] = [
		'a pair that is not there yet (duplicates: "keep", or --keep_duplicates, takes it)',
		"an earlier row's caption, images and preference",
	];
	return { file, row, field: "", kind: "duplicate", expected, got, value: { prompt, images, preferred } };
}
