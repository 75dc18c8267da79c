/** Counts of rollouts that have been decided on, record by record. */
import { collectStats, type JudgementStats } from "./judgement-stats.js";
import type { JudgedRollout } from "./outcome.js";
import type { PassRate } from "./pass-rate.js";
import { collectScores, type ScoreReport } from "./score-report.js";
import { collectBreakdown, type StatsBreakdown } from "./stats-breakdown.js";

/** What became of the rollouts so far. */
export interface FilterReport {
	/** `kept` and all of `rejected` add up to it. */
	total: number;
	kept: number;
	/** Rollouts by the filter that turned them away; every filter has its count, 0 included, in the order in which they are asked. */
	rejected: Record<string, number>;
	records: number;
	/** Records of which something was kept. */
	recordsKept: number;
	/** Of all rollouts, before any filter. */
	judgements: JudgementStats;
	breakdown: StatsBreakdown;
	/** Of the verdicts' probabilities, over all rollouts; absent where none was scored. */
	scores?: ScoreReport;
}

/** What counts records: `filterRollouts`' own, or one that shows more of them (`collectReport`). */
export interface RecordCounts {
	/** Takes one record with all its rollouts: those without `rejectedBy` are kept. */
	add(record: { rollouts: readonly JudgedRollout[]; passRate: PassRate }): void;
	report(): FilterReport;
}

/** @param filters names that are counted though they may turn nothing away, in the order in which they are asked */
export function collectFilterReport(filters: readonly string[]): RecordCounts {
	const [stats, breakdown, scores] = [collectStats(), collectBreakdown(), collectScores()];
	const rejected: Record<string, number> = Object.fromEntries(filters.map((name) => [name, 0]));
	let [total, kept, records, recordsKept] = [0, 0, 0, 0];
	return {
		add({ rollouts, passRate }) {
			const before = kept;
			for (const rollout of rollouts) {
				total++;
				stats.add(rollout);
				breakdown.add(rollout, passRate);
				scores.add(rollout);
				if (rollout.rejectedBy === undefined) kept++;
				else rejected[rollout.rejectedBy] = (rejected[rollout.rejectedBy] ?? 0) + 1;
			}
			records++;
			if (kept > before) recordsKept++;
		},
		report() {
			const scored = scores.report();
			return {
				...{ total, kept, rejected: { ...rejected }, records, recordsKept },
				...{ judgements: stats.stats(), breakdown: breakdown.breakdown(), ...(scored && { scores: scored }) },
			};
		},
	};
}
