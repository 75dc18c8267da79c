/** One row's bytes as JSON, or why they are none. What is wrong with a row is the row's own: the next one is read as if nothing had been. */
import { TextDecoder } from "node:util";
import type { RowProblem } from "./dataset-error.js";

/** A row as parsed, or why it could not be; `row` counts from 0, blank lines apart. `value` of one that is not JSON is its text. */
export type JsonRow = { row: number; value: unknown } | ({ row: number } & Pick<RowProblem, "kind" | "expected" | "got" | "value">);

/** A caption of a million characters is 4 MB at most; what is longer is no row, but a file without its line feeds. */
export const MAX_ROW_BYTES = 64 * 2 ** 20;

const SHOWN = 60;
/** What Python's json writes, which JSON has not. */
const PYTHON_NUMBER = /[:,[]\s*(NaN|-?Infinity)\s*[,}\]]/;
const decoder = new TextDecoder("utf-8", { fatal: true });

/** @param bytes of one row, without the line feed */
export function parseJsonRow(bytes: Uint8Array, row: number): JsonRow {
	if (bytes.byteLength > MAX_ROW_BYTES) return tooLarge(bytes.byteLength, row);
	let text: string;
	try {
		text = decoder.decode(bytes);
	} catch {
		const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
		return { row, kind: "not-utf8", expected: "UTF-8", got: `bytes that are not: ${shown(value)}`, value };
	}
	try {
		return { row, value: JSON.parse(text) };
	} catch (error) {
		const [, number] = PYTHON_NUMBER.exec(text) ?? [];
		if (number !== undefined) return { row, kind: "not-finite", expected: "JSON, whose numbers are finite", got: number, value: text };
		const why = error instanceof Error ? error.message : String(error);
		return { row, kind: "not-json", expected: "one JSON object", got: `${shown(text)} (${why})`, value: text };
	}
}

/** A row of which only the length is known. */
export function tooLarge(bytes: number, row: number): JsonRow {
	return { row, kind: "too-large", expected: `at most ${MAX_ROW_BYTES} bytes`, got: `${bytes}` };
}

const shown = (text: string) => JSON.stringify(text.slice(0, SHOWN));
