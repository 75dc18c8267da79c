/**
 * The data of a command, read once before the model is: bad rows show at once and not after hours of sampling, and the number of
 * records makes a time left. Reading it again gives the same records.
 */
import { describeProblem, loadDataset, type PreferenceRecord, type RowProblem } from "../index.js";
import type { DataOptions, HeldOutOptions } from "./options.js";
import type { Session } from "./session.js";

export interface SurveyedRecords {
	records: AsyncIterable<PreferenceRecord>;
	/** Records, each shown order counted. */
	count: number;
	/** Rows that were read, those left out as bad included. */
	rows: number;
}

const BAD_ROWS_SHOWN = 5;

/** @throws Error for more bad rows than allowed, or no record at all; DatasetError for a file that can't be read. */
export async function surveyRecords(options: DataOptions, { note, signal }: Session): Promise<SurveyedRecords> {
	const { data_path, image_root, limit, shuffle_buffer, max_bad_rows, orders, seed } = options;
	const open = (onBadRow: (problem: RowProblem) => void) =>
		loadDataset(data_path, { imageRoot: image_root, limit, shuffleBuffer: shuffle_buffer, order: orders, seed, onBadRow });
	let [count, badRows] = [0, 0];
	const report = (problem: RowProblem) => {
		if (++badRows <= BAD_ROWS_SHOWN) note(describeProblem(problem));
	};
	for await (const _ of open(report)) {
		count++;
		signal.throwIfAborted();
	}
	const bad = badRows === 1 ? "1 bad row" : `${badRows} bad rows`;
	if (badRows > max_bad_rows) {
		throw new Error(
			`${data_path.join(", ")}: ${bad}, at most ${max_bad_rows} allowed; correct them, or leave them out with --max_bad_rows ${badRows}`,
		);
	}
	if (badRows > 0) note(`${bad} left out`);
	if (count === 0) throw new Error(`${data_path.join(", ")}: expected at least one record, got none`);
	// The survey has reported them.
	return { records: open(() => undefined), count, rows: badRows + count / (orders === "both" ? 2 : 1) };
}

/** Held-out pairs, both ways round; undefined where none are given. */
export async function surveyHeldOut(options: HeldOutOptions, session: Session): Promise<SurveyedRecords | undefined> {
	const { eval_data_path: data_path, eval_image_root: image_root, eval_limit: limit, seed } = options;
	if (data_path === undefined) return undefined;
	return surveyRecords({ data_path, image_root, limit, seed, orders: "both", shuffle_buffer: 0, max_bad_rows: 0 }, session);
}

/** The files of `schema:path` sources. */
export function dataFiles(sources: readonly string[]): string[] {
	return sources.map((source) => source.slice(source.indexOf(":") + 1));
}
