/** The data files that a path names: a file, the files of a folder, or those that a glob pattern matches; always in the order of their names. */
import { stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { glob } from "tinyglobby";
import { DatasetError } from "./dataset-error.js";

/** What a folder's data files are called, in it and in the folders below. */
const DATA_FILES = "**/*.{json,jsonl,ndjson,parquet,tar,tgz,json.gz,jsonl.gz,ndjson.gz,tar.gz,json.zst,jsonl.zst,ndjson.zst,tar.zst}";
const PATTERN = /[*?[\]{}()!]/;

/**
 * @param path a file; a folder of shards; or a pattern such as `shards/train-*.tar`, `data/{a,b}.json`, with `**` for folders in between.
 *   A file whose name has such characters is that file.
 * @throws DatasetError where nothing is found.
 */
export async function expandPath(path: string): Promise<string[]> {
	const found = await stat(path).catch(() => undefined);
	if (found?.isDirectory()) return filesOf(path);
	if (found || !PATTERN.test(path)) return [path];
	const files = await glob(path, { absolute: isAbsolute(path), expandDirectories: false, caseSensitiveMatch: true });
	if (files.length > 0) return files.sort(byName);
	throw new DatasetError(path, `${path}: expected a file, or a pattern that matches some, got no such file; check the path`);
}

async function filesOf(folder: string): Promise<string[]> {
	const files = await glob(DATA_FILES, { cwd: folder, expandDirectories: false });
	if (files.length > 0) return files.sort(byName).map((file) => join(folder, file));
	throw new DatasetError(folder, `${folder}: expected a folder with data files (${DATA_FILES}), got none; name the files, or a pattern`);
}

/** Not by locale: the same on every machine. */
const byName = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
