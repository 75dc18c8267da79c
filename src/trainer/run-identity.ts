/**
 * What makes a resumed run the same run: its data and every option that decides the numbers. How a step is computed (micro-batches, packing,
 * gradient checkpointing, graphs) is not among them: it changes the result by rounding only.
 *
 * Data is known by a digest of each of at most 32 blocks of rows, so that a difference can be shown by its place. Rows that are functions
 * are known by their number only.
 */
import { createHash, type Hash } from "node:crypto";
import { z } from "zod";
import type { TrainingRow } from "./collate.js";

const BLOCKS = 32;

export const runIdentity = z.object({
	options: z.record(z.string(), z.json()),
	rows: z.int(),
	/** Digests of blocks of `ceil(rows / 32)` rows. */
	blocks: z.array(z.string()),
});
export type RunIdentity = z.infer<typeof runIdentity>;

/** @param options numbers, texts and lists that decide the run's numbers */
export function identify(rows: readonly TrainingRow[], options: RunIdentity["options"]): RunIdentity {
	const size = blockSize(rows.length);
	const blocks: string[] = [];
	for (let from = 0; from < rows.length; from += size) {
		const hash = createHash("sha256");
		for (const row of rows.slice(from, from + size)) addRow(hash, row);
		blocks.push(hash.digest("hex").slice(0, 16));
	}
	return { options, rows: rows.length, blocks };
}

/** @returns one line per difference, such as "seed was 42 and is now 1"; none where both are the same run */
export function differences(was: RunIdentity, is: RunIdentity): string[] {
	const show = (value: unknown) => (value === undefined ? "not set" : JSON.stringify(value));
	const keys = [...new Set([...Object.keys(was.options), ...Object.keys(is.options)])];
	const lines = keys
		.filter((key) => show(was.options[key]) !== show(is.options[key]))
		.map((key) => `${key} was ${show(was.options[key])} and is now ${show(is.options[key])}`);
	if (was.rows !== is.rows) return [...lines, `there were ${was.rows} rows and now are ${is.rows}`];
	const block = is.blocks.findIndex((digest, i) => digest !== was.blocks[i]);
	if (block < 0) return lines;
	const size = blockSize(is.rows);
	return [...lines, `the data is another: its first difference is in rows ${block * size} to ${Math.min(is.rows, (block + 1) * size) - 1}`];
}

const blockSize = (rows: number) => Math.max(1, Math.ceil(rows / BLOCKS));

function addRow(hash: Hash, row: TrainingRow): void {
	if (typeof row === "function") {
		hash.update("function\n");
		return;
	}
	const json = JSON.stringify(row, function (this: Record<string, unknown>, key, value: unknown) {
		const raw = this[key]; // before Buffer's own toJSON
		if (!ArrayBuffer.isView(raw)) return value;
		return createHash("sha256")
			.update(new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength))
			.digest("hex");
	});
	hash.update(`${json}\n`);
}
