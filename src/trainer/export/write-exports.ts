/**
 * One pass over filtered records, several training files: for each layout a folder, in it a file for each kind of row. All are open
 * together and appear when the pass has succeeded; a row is checked against its trainer's schema before it is written.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { checkRow } from "../../files/check-row.js";
import { writeJsonArrayFrom, writeJsonLines } from "../../files/write-json-rows.js";
import { writeParquetRows } from "../../files/write-parquet-rows.js";
import { writeText } from "../../files/write-text.js";
import type { FilteredRecord } from "../../reward/filter-rollouts.js";
import { datasetInfo } from "./dataset-info.js";
import { EXPORT_LAYOUTS, type ExportLayout, LAYOUTS, type RowLayout } from "./layouts.js";
import { EXPORT_KINDS, type ExportKind, type TrainingRows, trainingRows } from "./training-rows.js";

export const EXPORT_FORMATS = ["json", "jsonl", "parquet"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export interface WriteExportsOptions {
	/** Default: all four. */
	layouts?: readonly ExportLayout[];
	/** Default: all three. A layout that has no rows of a kind (LightRFT has no pairs) gets no file of it. */
	kinds?: readonly ExportKind[];
	/** Default `jsonl`. LightRFT reads nothing but JSON, and gets it. */
	format?: ExportFormat;
	/** Writes image paths relative to this folder. Default: absolute paths. */
	imageRoot?: string;
}

/** Rows per file, by its path. */
export type ExportCounts = Record<string, number>;

interface Target {
	file: string;
	kind: ExportKind;
	layout: ExportLayout;
	format: ExportFormat;
	rows: RowLayout<never>;
}

/** The files that `writeExports` would write into `folder`, LLaMA-Factory's dataset_info.json included. */
export function exportFiles(folder: string, options: WriteExportsOptions = {}): string[] {
	const targets = targetsIn(folder, options);
	const info = targets.some(({ layout }) => layout === "llama-factory") ? [infoFile(folder)] : [];
	return [...targets.map(({ file }) => file), ...info];
}

/**
 * @param body is given the function that adds one record: give it to `filterRollouts` as `onRecord`. The files appear when `body` has
 *   settled, if it did not throw.
 * @returns what `body` returns, and the rows written to each file.
 * @throws Error for a row that its trainer could not read, with its place; then no file is left.
 */
export async function writeExports<R>(
	folder: string,
	options: WriteExportsOptions,
	body: (add: (record: FilteredRecord) => Promise<void>) => Promise<R>,
): Promise<{ result: R; counts: ExportCounts }> {
	const targets = targetsIn(folder, options);
	for (const { layout } of targets) await mkdir(join(folder, layout), { recursive: true });
	const counts: ExportCounts = Object.fromEntries(targets.map(({ file }) => [file, 0]));
	const result = await withFiles(targets, [], (writers) =>
		body(async (record) => {
			const rows = trainingRows(record, options);
			for (const [i, target] of targets.entries()) {
				for (const row of rows[target.kind]) {
					await writers[i](checkedRow(target, row));
					counts[target.file]++;
				}
			}
		}),
	);
	if (targets.some(({ layout }) => layout === "llama-factory")) await writeText(infoFile(folder), datasetInfo(infoFor(targets, counts)));
	return { result, counts };
}

const infoFile = (folder: string) => join(folder, "llama-factory", "dataset_info.json");

function targetsIn(folder: string, { layouts = EXPORT_LAYOUTS, kinds = EXPORT_KINDS, format = "jsonl" }: WriteExportsOptions): Target[] {
	return layouts.flatMap((layout) =>
		kinds.flatMap((kind): Target[] => {
			const rows = LAYOUTS[layout][kind];
			const own = layout === "lightrft" ? "json" : format;
			return rows ? [{ file: join(folder, layout, `${kind}.${own}`), kind, layout, format: own, rows }] : [];
		}),
	);
}

/** LLaMA-Factory fails on an empty file, so that one is not named. */
function infoFor(targets: readonly Target[], counts: ExportCounts): { sft?: string; dpo?: string } {
	const filled = targets.filter(({ layout, file, kind }) => layout === "llama-factory" && kind !== "grpo" && counts[file] > 0);
	return Object.fromEntries(filled.map(({ kind, format }) => [kind, `${kind}.${format}`]));
}

type RowWriter = (row: unknown) => Promise<void>;

/** Opens the files one inside the other, so that any failure leaves none of them. */
function withFiles<R>(targets: readonly Target[], open: RowWriter[], body: (writers: RowWriter[]) => Promise<R>): Promise<R> {
	const [target, ...others] = targets;
	if (!target) return body(open);
	const inner = (write: RowWriter) => withFiles(others, [...open, write], body);
	if (target.format === "parquet") return writeParquetRows(target.file, target.rows.schema, inner);
	return target.format === "json" ? writeJsonArrayFrom(target.file, inner) : writeJsonLines(target.file, inner);
}

function checkedRow({ file, rows }: Target, row: TrainingRows[ExportKind][number]): unknown {
	const checked = checkRow<unknown>(rows.schema as z.ZodType, rows.toRow(row as never));
	if (checked.ok) return checked.value;
	const { source, row: number, key } = row.provenance;
	throw new Error(
		`export of record ${number} of ${source} (${key}) to ${file}: ${checked.field}: expected ${checked.expected}, got ${checked.got}; nothing was written`,
	);
}
