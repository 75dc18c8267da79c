/** A data file, or one row of it, that is not what its reader expects. */

/** Where a value was wrong. `row` counts from 0; `field` is a path such as `choice_dist.0`, or empty for the row as a whole. */
export interface RowProblem {
	file: string;
	row: number;
	field: string;
	expected: string;
	got: string;
}

/** A source that can't be read as a whole, or a bad row that nobody asked to be told about. */
export class DatasetError extends Error {
	readonly file: string;
	/** The row, where the trouble is in one. */
	readonly row?: number;
	/** The row's problem, field by field, where it is one that `onBadRow` would have been given. */
	readonly problem?: RowProblem;

	constructor(file: string, message: string, { row, problem, cause }: { row?: number; problem?: RowProblem; cause?: unknown } = {}) {
		super(message, { cause });
		this.name = "DatasetError";
		this.file = file;
		this.row = row;
		this.problem = problem;
	}

	/** A bad row as an error: where, expected, got, and the way out. */
	static ofRow(problem: RowProblem, wayOut: string): DatasetError {
		return new DatasetError(problem.file, `${describeProblem(problem)}; ${wayOut}`, { row: problem.row, problem });
	}
}

/** "record 17 of train.json: field prompt: expected string, got number 3" */
export function describeProblem({ file, row, field, expected, got }: RowProblem): string {
	return `record ${row} of ${file}: ${field === "" ? "" : `field ${field}: `}expected ${expected}, got ${got}`;
}
