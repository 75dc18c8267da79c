/**
 * Rows to a Parquet file, a row group in memory at a time; the file appears when its last row is on the disk.
 *
 * `hyparquet-writer` is loaded when it is needed: it is ES modules only, which the CommonJS build can't load otherwise.
 */
import type { FileHandle } from "node:fs/promises";
import type { ByteWriter } from "hyparquet-writer";
import type { z } from "zod";
import { writeWhole } from "../checkpoint/write-whole.js";
import { parquetRows, parquetSchema } from "./parquet-schema.js";

/** Some thousand characters a row make this a few megabytes. */
const ROW_GROUP = 1000;

/** Makes a buffer hand over to the file what was written to it, after each row group. */
function flushTo(handle: FileHandle, writer: ByteWriter): ByteWriter {
	const flush = async () => {
		const bytes = writer.getBytes().slice();
		writer.index = 0;
		await handle.appendFile(bytes);
	};
	return Object.assign(writer, { flush, finish: flush });
}

/**
 * Writes Parquet from inside a callback, as `writeJsonLines` does.
 * @param schema of a row; see `parquetSchema` for what it may be made of
 * @returns what `body` returns.
 */
export async function writeParquetRows<T, R>(
	file: string,
	schema: z.ZodObject,
	body: (write: (row: T) => Promise<void>) => Promise<R>,
): Promise<R> {
	const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
	const names = Object.keys(schema.shape);
	const toRow = parquetRows(schema);
	const results: R[] = [];
	await writeWhole(file, async (handle) => {
		const parquet = new ParquetWriter({ writer: flushTo(handle, new ByteWriter(1 << 20)), schema: parquetSchema(schema) });
		let rows: Record<string, unknown>[] = [];
		const writeGroup = async () => {
			const columnData = names.map((name) => ({ name, data: rows.map((row) => row[name]) }));
			rows = [];
			await parquet.write({ columnData, rowGroupSize: ROW_GROUP });
		};
		results.push(
			await body(async (row) => {
				rows.push(toRow(row));
				if (rows.length === ROW_GROUP) await writeGroup();
			}),
		);
		if (rows.length > 0) await writeGroup();
		await parquet.finish();
	});
	return results[0];
}
