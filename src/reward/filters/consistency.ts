/** Filters about a record's judgements taken together: both shown orders, how many are right, how hard the record is. */
import type { JudgedRollout } from "../outcome.js";
import { isRight, passRate } from "../pass-rate.js";
import { type RolloutFilter, wholeRecord } from "../rollout-filter.js";

export interface SwapConsistentOptions {
	/** Right judgements asked for in each shown order. Default 1. */
	minRight?: number;
	/**
	 * Right judgements that are kept all the same of a record that falls short, the stream's first. Hard records fall short more often than easy ones: with
	 * none of them left, a judge may learn nothing of their kind. Default 0.
	 */
	oneOrder?: number;
}

/**
 * Keeps a record's judgements only where each shown order has `minRight` right ones among those still there. A judge that leans to
 * "Image 1" is right by luck in one order. Use it with `loadDataset`'s `order: "both"`: a record shown one way round falls short.
 * @throws RangeError for a `minRight` below 1 and a `oneOrder` below 0.
 */
export function swapConsistent({ minRight = 1, oneOrder = 0 }: SwapConsistentOptions = {}): RolloutFilter {
	checkCount("swapConsistent: minRight", minRight);
	checkCount("swapConsistent: oneOrder", oneOrder, 0);
	return {
		name: "swap-consistent",
		about: "judgement",
		judge(candidates) {
			const right = rightPerOrder(candidates);
			if (right.every((count) => count >= minRight)) return candidates.map(() => ({}));
			const reason = `right ${right[0]} times as stored and ${right[1]} times swapped; ${minRight} of each asked for`;
			const kept = new Set(candidates.filter(isRight).slice(0, oneOrder));
			return candidates.map((rollout) => (kept.has(rollout) ? {} : { reason }));
		},
	};
}

function rightPerOrder(rollouts: readonly JudgedRollout[]): [number, number] {
	const counts: [number, number] = [0, 0];
	for (const rollout of rollouts) if (isRight(rollout)) counts[rollout.record.order[0]]++;
	return counts;
}

/** Keeps a record's judgements where at least `k` of all that were generated are right. @throws RangeError for a `k` below 1. */
export function kOfN(k: number): RolloutFilter {
	checkCount("kOfN: k", k);
	return wholeRecord("k-of-n", "judgement", (_, all) => {
		const { right, of } = passRate(all);
		return right >= k ? undefined : `${right} of ${of} are right; ${k} asked for`;
	});
}

/** Keeps a record's judgements where more than half of all that were generated are right. */
export function majority(): RolloutFilter {
	return wholeRecord("majority", "judgement", (_, all) => {
		const { right, of } = passRate(all);
		return right * 2 > of ? undefined : `${right} of ${of} are right, not more than half`;
	});
}

export interface DifficultyBandOptions {
	/** Least pass rate. Default: above 0. */
	min?: number;
	/** Greatest pass rate. Default: below 1. */
	max?: number;
}

/**
 * Keeps records whose pass rate lies between `min` and `max`, ends included. By default it drops those that are always right (nothing to
 * learn) and never right (perhaps a wrong label). About the record: nothing of a dropped one is exported.
 * @throws RangeError unless 0 ≤ min ≤ max ≤ 1.
 */
export function difficultyBand({ min = Number.MIN_VALUE, max = 1 - Number.EPSILON }: DifficultyBandOptions = {}): RolloutFilter {
	if (!(min >= 0 && min <= max && max <= 1)) throw new RangeError(`difficultyBand: expected 0 ≤ min ≤ max ≤ 1, got ${min} and ${max}`);
	return wholeRecord("difficulty", "record", (_, all) => {
		const { right, of, rate } = passRate(all);
		if (rate >= min && rate <= max) return undefined;
		if (of === 0) return "nothing was generated";
		return `${right} of ${of} are right, ${rate < min ? "too few" : "too many"}`;
	});
}

function checkCount(name: string, value: number, least = 1): void {
	if (Number.isSafeInteger(value) && value >= least) return;
	throw new RangeError(`${name}: expected a whole number, ${least} or more, got ${value}`);
}
