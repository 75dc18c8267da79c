import type { CheckedRow } from "./check-row.js";
import { DatasetError } from "./dataset-error.js";
import type { JsonRow } from "./parse-json-row.js";

/**
 * Rows of a file that may hold no bad one.
 * @param check what a row's value is, or what is wrong with it
 * @param wayOut what a user can do about a bad one
 * @throws DatasetError at the first bad row, with its place and what was expected
 */
export async function* checkedRows<T>(
	file: string,
	rows: AsyncIterable<JsonRow>,
	check: (value: unknown) => CheckedRow<T>,
	wayOut = "correct the row or remove it",
): AsyncGenerator<{ row: number; value: T }> {
	for await (const read of rows) {
		const { row } = read;
		const checked = "expected" in read ? { ok: false as const, field: "", ...read } : check(read.value);
		if (!checked.ok) {
			const { field, kind, expected, got } = checked;
			throw DatasetError.ofRow({ file, row, field, kind, expected, got }, wayOut);
		}
		yield { row, value: checked.value };
	}
}
