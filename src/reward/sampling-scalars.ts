/** The sampling stage in numbers for a log: what became of the rows that were read and of the judgements drawn. */
import type { RowCounts } from "../dataset/bad-rows.js";
import type { FilterReport } from "./filter-report.js";

/**
 * Value by tag: counts, but for shares from 0 to 1 (`sample/accuracy`, of those that named a winner; `sample/parse_rate`; `sample/says_image_1`) and
 * `sample/mean_tokens`. A share of nothing is left out.
 *
 * @param report `filterRollouts(…).report`, at any time
 * @param input `loadDataset(…).counts`. Default: nothing is said of rows.
 */
export function samplingScalars(report: FilterReport, input?: RowCounts): Record<string, number> {
	const { total, kept, rejected, records, recordsKept, judgements } = report;
	const shares = {
		"sample/accuracy": judgements.accuracy.value,
		"sample/parse_rate": judgements.parseRate.value,
		"sample/says_image_1": judgements.saysImage1.value,
		"sample/mean_tokens": judgements.meanTokens,
	};
	return {
		...{ "sample/judgements": total, "sample/kept": kept, "sample/pairs": records, "sample/pairs_kept": recordsKept },
		...under("sample/turned_away", rejected),
		...under("sample/outcome", judgements.outcomes),
		...Object.fromEntries(Object.entries(shares).filter(([, share]) => Number.isFinite(share))),
		...(input && rowScalars(input)),
	};
}

function rowScalars({ rows, records, bad, ties }: RowCounts): Record<string, number> {
	return {
		...{ "data/rows": rows, "data/pairs": records, "data/quarantined": rows - records, "data/ties": ties },
		...under("data/quarantined_as", bad),
	};
}

const under = (tag: string, counts: Readonly<Record<string, number>>) =>
	Object.fromEntries(Object.entries(counts).map(([name, count]) => [`${tag}/${name}`, count]));
