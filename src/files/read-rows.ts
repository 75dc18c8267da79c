/**
 * The rows of a data file in any of the forms that are known: JSON array, JSON Lines, Parquet, tar shards; all but Parquet also as gzip or
 * Zstandard. The form is read from the file's first bytes, never from its name.
 */
import { eachOfGroups } from "./each-of-groups.js";
import type { JsonRow } from "./parse-json-row.js";
import { peek, readBytes, readHead, startsWith } from "./read-bytes.js";
import { checkJsonBytes, parseJsonRows } from "./read-json-rows.js";
import { checkParquetFile, PARQUET_MARK, readParquetRows } from "./read-parquet-rows.js";
import { isTar, readTarRows, TAR_HEAD } from "./read-tar-rows.js";

/**
 * Reads a file row by row, as fast as the rows are taken.
 * @returns rows in file order, those that can't be parsed as what is wrong with them.
 * @throws DatasetError if the file can't be read, is of no known form, or is broken so that there is no next row.
 */
export function readRows(file: string): AsyncIterableIterator<JsonRow, undefined, undefined> {
	return eachOfGroups(readGroups(file));
}

async function* readGroups(file: string): AsyncGenerator<JsonRow[]> {
	if (await isParquet(file)) return yield* readParquetRows(file);
	const { head, blocks } = await peek(readBytes(file), TAR_HEAD);
	yield* isTar(head) ? readTarRows(file, blocks) : parseJsonRows(file, blocks);
}

/** Fails as `readRows` would on its first row, if the file is missing, empty or of no known form. */
export async function checkDataFile(file: string): Promise<void> {
	if (await isParquet(file)) return checkParquetFile(file);
	const { head, blocks } = await peek(readBytes(file), TAR_HEAD);
	if (isTar(head)) await blocks.return(undefined);
	else await checkJsonBytes(file, blocks);
}

const isParquet = async (file: string) => startsWith(await readHead(file, PARQUET_MARK.length), PARQUET_MARK);
