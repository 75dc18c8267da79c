/** Filters about a record's judgements taken together: both shown orders, how many are right, how hard the record is. */
import type { JudgedRollout } from "../outcome.js";
import { isRight, passRate } from "../pass-rate.js";
import { type RolloutFilter, wholeRecord } from "../rollout-filter.js";

/**
 * Keeps a record's judgements only where each shown order has `minRight` right ones among those still there. A judge that leans to
 * "Image 1" is right by luck in one order. Use it with `loadDataset`'s `order: "both"`: a record shown one way round is not kept.
 * @throws RangeError for a `minRight` below 1.
 */
export function swapConsistent({ minRight = 1 }: { minRight?: number } = {}): RolloutFilter {
	checkCount("swapConsistent: minRight", minRight);
	return wholeRecord("swap-consistent", "judgement", (candidates) => {
		const right = rightPerOrder(candidates);
		if (right.every((count) => count >= minRight)) return undefined;
		return `right ${right[0]} times as stored and ${right[1]} times swapped; ${minRight} of each asked for`;
	});
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

function checkCount(name: string, value: number): void {
	if (!(Number.isSafeInteger(value) && value >= 1)) throw new RangeError(`${name}: expected a whole number, 1 or more, got ${value}`);
}
