import type { FilterReport } from "./filter-report.js";
import { formatStats } from "./judgement-stats.js";
import { formatScoreReport } from "./score-report.js";

/**
 * The text of `filtered_samples_stats.txt`: the judge's statistics, then what each filter turned away, and how the selection shifted.
 * @param options `table: false` leaves out the reliability tables of scores: twenty lines
 */
export function formatFilterReport(
	{ judgements, total, kept, rejected, records, recordsKept, breakdown, scores }: FilterReport,
	options: { table?: boolean } = {},
): string {
	const lines: [string, string | number][] = [
		["records", records],
		["records kept", recordsKept],
		...Object.entries(rejected).map(([name, count]): [string, number] => [`turned away by ${name}`, count]),
		["kept", `${kept} of ${total}`],
		...Object.entries(breakdown).map(([name, { shift }]): [string, string] => [
			`selection shift by ${name}, 0 to 1`,
			kept === 0 ? "–" : shift.toFixed(3),
		]),
	];
	const counted = lines.map(([name, value]) => `${name}: ${value}`);
	return `${formatStats(judgements)}${[...counted, ...(scores ? formatScoreReport(scores, options) : [])].join("\n")}\n`;
}
