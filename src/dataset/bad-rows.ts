/**
 * What becomes of bad rows: each is counted and told, and more than the budget end the reading. So rows read are always records and bad rows
 * together: nothing is lost between them.
 */
import { DatasetError, type RowProblem, type RowProblemKind } from "../files/dataset-error.js";

/** What a reading came to. `rows` are `records` and all of `bad` together. */
export interface RowCounts {
	/** Where a row makes several pairs, each of them counts. */
	rows: number;
	records: number;
	/** Bad rows by kind; kinds without one are left out. */
	bad: Partial<Record<RowProblemKind, number>>;
	/** Pairs of which people preferred neither image; left out, and not counted as rows. */
	ties: number;
}

export interface BadRowOptions {
	/** Given each bad row, with its first bad field; awaited, so that it may write to a file. The row is left out. Without it the first bad row throws. */
	onBadRow?: (problem: RowProblem) => unknown;
	/** More bad rows than so many throw. Default: any number, as they are told. */
	maxBadRows?: number;
}

const SHOWN = 5;

/** Counts one reading's rows. */
export class RowTally {
	readonly counts: RowCounts = { rows: 0, records: 0, bad: {}, ties: 0 };
	private readonly first: RowProblem[] = [];

	constructor(private readonly options: BadRowOptions = {}) {}

	record(): void {
		this.counts.rows++;
		this.counts.records++;
	}

	tie(): void {
		this.counts.ties++;
	}

	/** @throws DatasetError for more than the budget, and for the first where nobody is told; what `onBadRow` throws. */
	async bad(problem: RowProblem): Promise<void> {
		const { onBadRow, maxBadRows = Number.POSITIVE_INFINITY } = this.options;
		const { counts, first } = this;
		counts.rows++;
		counts.bad[problem.kind] = (counts.bad[problem.kind] ?? 0) + 1;
		if (first.length < SHOWN) first.push(problem);
		if (!onBadRow) throw DatasetError.ofRow(problem, "correct the row, or give onBadRow to go on without such rows");
		await onBadRow(problem);
		if (counts.rows - counts.records > maxBadRows) throw DatasetError.tooMany(first, maxBadRows);
	}
}
