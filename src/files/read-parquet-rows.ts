/**
 * The rows of a Parquet file, one row group in memory at a time: with images inside, groups should be small (Hugging Face writes some
 * hundred rows to one). Values are what JSON has, but for bytes (`Uint8Array`).
 *
 * `hyparquet` is loaded when it is needed: it is ES modules only, which the CommonJS build can't load otherwise.
 */
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import type { AsyncBuffer, Compressors, FileMetaData } from "hyparquet";
import { DatasetError } from "./dataset-error.js";
import type { JsonRow } from "./parse-json-row.js";
import { messageOf } from "./read-bytes.js";

/** A Parquet file begins and ends with these bytes. */
export const PARQUET_MARK = [...Buffer.from("PAR1")];

/** @throws DatasetError for a file that is cut off, damaged, or compressed in a way that is not known. */
export async function* readParquetRows(file: string): AsyncGenerator<JsonRow[]> {
	const { parquetReadObjects } = await import("hyparquet");
	const { source, metadata } = await openParquet(file);
	const compressors = await loadCompressors();
	let rowStart = 0;
	for (const group of metadata.row_groups) {
		const rowEnd = rowStart + Number(group.num_rows);
		const first = rowStart;
		try {
			// Bytes that are not marked as text are bytes: pictures.
			const values = await parquetReadObjects({ ...{ file: source, metadata, rowStart, rowEnd, compressors }, utf8: false, parsers: TEXT });
			yield values.map((value, i) => ({ row: first + i, value: plain(value) }));
		} catch (cause) {
			const message = `${file}: rows ${rowStart} to ${rowEnd - 1} can't be read: ${messageOf(cause)}; is the file complete?`;
			throw new DatasetError(file, message, { row: rowStart, cause });
		}
		rowStart = rowEnd;
	}
}

/** Fails as `readParquetRows` would on its first row, if the file's end is not that of a Parquet file. */
export async function checkParquetFile(file: string): Promise<void> {
	await openParquet(file);
}

async function openParquet(file: string): Promise<{ source: AsyncBuffer; metadata: FileMetaData }> {
	const { asyncBufferFromFile, parquetMetadataAsync } = await import("hyparquet");
	try {
		const source = await asyncBufferFromFile(file);
		return { source, metadata: await parquetMetadataAsync(source) };
	} catch (cause) {
		throw new DatasetError(file, `${file}: expected a Parquet file, got one without its end: ${messageOf(cause)}; is it complete?`, {
			cause,
		});
	}
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Text that is not UTF-8 is refused, never replaced. */
const TEXT = { stringFromBytes: (bytes?: Uint8Array) => bytes && decoder.decode(bytes) };

/** Snappy is hyparquet's own. */
async function loadCompressors(): Promise<Compressors> {
	const { decompress } = await import("fzstd");
	return {
		GZIP: (bytes) => gunzipSync(bytes),
		BROTLI: (bytes) => brotliDecompressSync(bytes),
		ZSTD: (bytes, length) => decompress(bytes, new Uint8Array(length)),
	};
}

/** 64-bit numbers as numbers, where they are as exact; what is not there as null. */
function plain(value: unknown): unknown {
	if (value === undefined) return null;
	if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
	if (Array.isArray(value)) return value.map(plain);
	if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value;
	return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}
