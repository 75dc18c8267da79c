/** Rows to a Parquet file, a row group in memory at a time; the file appears when its last row is on the disk. */
import type { FileHandle } from "node:fs/promises";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import type { z } from "zod";
import { writeWhole } from "../checkpoint/write-whole.js";
import { parquetRow, parquetSchema } from "./parquet-schema.js";

/** Some thousand characters a row make this a few megabytes. */
const ROW_GROUP = 1000;

/** Hands over what was written after each row group. */
class FileWriter extends ByteWriter {
	constructor(private readonly handle: FileHandle) {
		super(1 << 20);
	}

	async flush(): Promise<void> {
		const bytes = this.getBytes().slice();
		this.index = 0;
		await this.handle.appendFile(bytes);
	}

	override finish(): Promise<void> {
		return this.flush();
	}
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
	const names = Object.keys(schema.shape);
	const results: R[] = [];
	await writeWhole(file, async (handle) => {
		const parquet = new ParquetWriter({ writer: new FileWriter(handle), schema: parquetSchema(schema) });
		let rows: Record<string, unknown>[] = [];
		const writeGroup = async () => {
			const columnData = names.map((name) => ({ name, data: rows.map((row) => row[name]) }));
			rows = [];
			await parquet.write({ columnData, rowGroupSize: ROW_GROUP });
		};
		results.push(
			await body(async (row) => {
				rows.push(parquetRow(row, schema));
				if (rows.length === ROW_GROUP) await writeGroup();
			}),
		);
		if (rows.length > 0) await writeGroup();
		await parquet.finish();
	});
	return results[0];
}
