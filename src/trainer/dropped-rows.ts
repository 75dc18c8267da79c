import { type DroppedRow, nameRow } from "./collate.js";

/** The rows that were not trained on, each reported once. */
export class DroppedRows {
	private readonly byRow = new Map<number, DroppedRow>();

	/** @param total rows in all */
	constructor(
		private readonly total: number,
		private readonly report: (row: DroppedRow) => void,
	) {}

	/** @throws when no row is left. */
	add(rows: readonly DroppedRow[]): void {
		for (const row of rows) {
			if (this.byRow.has(row.row)) continue;
			this.byRow.set(row.row, row);
			this.report(row);
		}
		if (this.byRow.size === this.total) {
			const [first] = this.byRow.values();
			throw new Error(
				`Trainer.fit: none of ${this.total} rows can be trained on; the first, ${nameRow(first)}: ${first.reason}, ${first.detail}`,
			);
		}
	}

	rows(): DroppedRow[] {
		return [...this.byRow.values()];
	}
}
