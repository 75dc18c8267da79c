/** A data file, or one row of it, that is not what its reader expects. */

/**
 * Why a row is refused; what a program may branch on. The first group is about the row, the second about a path, the third about an image.
 * What each means, and what is accepted instead, is the table "Bad input" in docs/guide/dataset.md.
 */
export const ROW_PROBLEM_KINDS = [
	...(["not-utf8", "not-json", "too-large", "too-deep", "wrong-type", "not-finite", "prompt-too-long", "duplicate"] as const),
	...(["url", "outside-root", "bad-path"] as const),
	...(["missing-image", "not-a-file", "unreadable-image", "empty-image", "not-an-image", "unsupported-image"] as const),
	...(["damaged-image", "oversized-image", "elongated-image"] as const),
] as const;
export type RowProblemKind = (typeof ROW_PROBLEM_KINDS)[number];

/** Where a value was wrong. `row` counts from 0; `field` is a path such as `choice_dist.0`, or empty for the row as a whole. */
export interface RowProblem {
	file: string;
	row: number;
	field: string;
	kind: RowProblemKind;
	expected: string;
	got: string;
	/** The row as it was read, so that a quarantine loses nothing: its value, or its text where it could not be parsed. Absent where it is too deep or too large to keep. */
	value?: unknown;
}

/** A source that can't be read as a whole, or more bad rows than were allowed. */
export class DatasetError extends Error {
	readonly file: string;
	/** The row, where the trouble is in one. */
	readonly row?: number;
	/** The row's problem, field by field, where it is one that `onBadRow` would have been given: the first one, where they were too many. */
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

	/** @param first the first few of the bad rows, one at least */
	static tooMany(first: readonly RowProblem[], allowed: number): DatasetError {
		const [problem] = first;
		const rows = first.map((one) => `\n  ${describeProblem(one)}`).join("");
		const message = `more than ${allowed} bad rows; the first:${rows}\ncorrect them, or allow more with maxBadRows`;
		return new DatasetError(problem.file, message, { row: problem.row, problem });
	}
}

/** "record 17 of train.json: field prompt: expected string, got number 3" */
export function describeProblem({ file, row, field, expected, got }: RowProblem): string {
	return `record ${row} of ${file}: ${field === "" ? "" : `field ${field}: `}expected ${expected}, got ${got}`;
}
