/** Rows to a JSON array or a JSON Lines file, streamed; the file appears when its last row is on the disk. */
import type { FileHandle } from "node:fs/promises";
import { writeWhole } from "../checkpoint/write-whole.js";

/**
 * Writes a JSON array, one row a line.
 * @returns the number of rows.
 * @throws what `rows` throws; then no file is left, and one that stood there before is untouched.
 */
export async function writeJsonArray<T>(file: string, rows: Iterable<T> | AsyncIterable<T>): Promise<number> {
	let count = 0;
	await writeWhole(file, async (handle) => {
		await append(handle, "[");
		for await (const row of rows) await append(handle, `${count++ === 0 ? "" : ","}\n${JSON.stringify(row)}`);
		await append(handle, "\n]\n");
	});
	return count;
}

/**
 * Writes a JSON array from inside a callback, as `writeJsonLines` does.
 * @returns what `body` returns.
 */
export async function writeJsonArrayFrom<T, R>(file: string, body: (write: (row: T) => Promise<void>) => Promise<R>): Promise<R> {
	const results: R[] = [];
	let count = 0;
	await writeWhole(file, async (handle) => {
		await append(handle, "[");
		results.push(await body((row) => append(handle, `${count++ === 0 ? "" : ","}\n${JSON.stringify(row)}`)));
		await append(handle, "\n]\n");
	});
	return results[0];
}

/**
 * Writes JSON Lines from inside a callback, for rows that come as events rather than as an iterable (`onRejected`).
 * @param body is given the function that writes one row; the file appears when `body` has settled, if it did not throw.
 * @returns what `body` returns.
 */
export async function writeJsonLines<T, R>(file: string, body: (write: (row: T) => Promise<void>) => Promise<R>): Promise<R> {
	const results: R[] = [];
	await writeWhole(file, async (handle) => {
		results.push(await body((row) => append(handle, `${JSON.stringify(row)}\n`)));
	});
	return results[0];
}

async function append(handle: FileHandle, text: string): Promise<void> {
	await handle.appendFile(text);
}
