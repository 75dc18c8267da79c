/**
 * Writes every export of a few judged records, as JSON Lines and as Parquet, for read_exports.py:
 *
 *     npx tsx test/reference/write_exports.ts FOLDER
 */
import { join } from "node:path";
import { correct, filterRollouts, writeExports } from "../../src/index.js";
import { rolloutsOf } from "../reward/filters/sift.js";

const folder = process.argv[2];
if (!folder) throw new Error("usage: write_exports.ts FOLDER");

for (const format of ["jsonl", "parquet"] as const) {
	const rollouts = [0, 1, 2, 3, 4, 5].flatMap((row) => rolloutsOf(row, row % 2 === 0 ? "rrwRWW?" : "rwRW", "Größer: “2 > 1”"));
	const { counts } = await writeExports(join(folder, format), { format }, async (onRecord) => {
		for await (const _ of filterRollouts(rollouts, [correct()], { onRecord }));
	});
	console.log(counts);
}
