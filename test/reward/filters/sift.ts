/** Runs filters over rollouts, and gives each rollout's fate. */

import { correctAnswer } from "../../../src/reward/correct-answer.js";
import type { FilterReport } from "../../../src/reward/filter-report.js";
import { type FilteredRecord, filterRollouts } from "../../../src/reward/filter-rollouts.js";
import type { JudgedRollout } from "../../../src/reward/outcome.js";
import type { AnyReward } from "../../../src/reward/rewards.js";
import type { RolloutFilter } from "../../../src/reward/rollout-filter.js";
import type { Rollout } from "../../../src/sampler/rollout.js";
import { judgement, record } from "../../sampler/records.js";
import { rollout } from "../rollouts.js";

export interface Sifted {
	kept: JudgedRollout[];
	rejected: JudgedRollout[];
	records: FilteredRecord[];
	report: FilterReport;
	/** Per rollout of the stream: what turned it away, or "kept". */
	fates: string[];
	reasons: (string | undefined)[];
}

export async function sift(
	rollouts: Iterable<Rollout>,
	filters: readonly (RolloutFilter | AnyReward)[],
	options: { useCot?: boolean } = {},
): Promise<Sifted> {
	const [kept, rejected, records]: [JudgedRollout[], JudgedRollout[], FilteredRecord[]] = [[], [], []];
	const stream = filterRollouts(rollouts, filters, {
		...options,
		onRejected: (judged) => void rejected.push(judged),
		onRecord: (decided) => void records.push(decided),
	});
	for await (const judged of stream) kept.push(judged);
	const all = records.flatMap((decided) => decided.rollouts);
	const fates = all.map(({ rejectedBy = "kept" }) => rejectedBy);
	return { kept, rejected, records, report: stream.report, fates, reasons: all.map(({ reason }) => reason) };
}

/**
 * The rollouts of one record, by a word each: "r" right and "w" wrong as stored, "R" and "W" swapped, "?" unparsable, "x" failed.
 */
export function rolloutsOf(row: number, marks: string, reasoning = "They differ."): Rollout[] {
	return [...marks].map((mark, sampleIndex) => {
		const one = record(row, { order: mark === "R" || mark === "W" ? [1, 0] : [0, 1] });
		const right = correctAnswer(one);
		if (mark === "x") {
			const error = { kind: "bad-image", message: "lost" } as const;
			return rollout(row, "", { record: one, sampleIndex, finishReason: "error", numTokens: 0, error });
		}
		if (mark === "?") return rollout(row, "so", { record: one, sampleIndex });
		return rollout(row, judgement(mark.toLowerCase() === "r" ? right : right === 1 ? 2 : 1, reasoning), { record: one, sampleIndex });
	});
}
