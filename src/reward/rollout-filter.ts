/**
 * What a filter is: a name and a verdict for each rollout of one record. A filter is asked with all of a record's rollouts together,
 * because much of what makes a judgement worth keeping is in its siblings: is the record always judged right, in both orders, by most?
 *
 * A filter about the *record* (its label, its images, how hard it is) leaves the record out of everything that is exported. A filter
 * about the *judgement* leaves the judgement out of what is kept; as a wrong answer it may still serve as the worse half of a pair.
 */
import type { JudgedRollout } from "./outcome.js";

/** Without a `reason` the rollout stays. A `reward` is added to the rollout's own, whether it stays or not. */
export interface Verdict {
	/** Why the rollout is turned away, for a person. */
	reason?: string;
	reward?: number;
}

export interface RolloutFilter {
	/** What rollouts are counted under that it turns away; differs between the filters of one list. */
	readonly name: string;
	readonly about: "record" | "judgement";
	/**
	 * @param candidates the record's rollouts that the filters before it have left, one or more, in the stream's order
	 * @param all every rollout of the record
	 * @returns a verdict for each candidate, in their order
	 */
	judge(candidates: readonly JudgedRollout[], all: readonly JudgedRollout[]): readonly Verdict[] | Promise<readonly Verdict[]>;
}

/** A filter that looks at one judgement at a time. @param test the reason to turn it away, or undefined to keep it. */
export function eachJudgement(name: string, test: (rollout: JudgedRollout) => string | undefined): RolloutFilter {
	return { name, about: "judgement", judge: (candidates) => candidates.map((rollout) => ({ reason: test(rollout) })) };
}

/** A filter that keeps all or none of a record's rollouts. @param test the reason to turn them away, or undefined to keep them. */
export function wholeRecord(
	name: string,
	about: RolloutFilter["about"],
	test: (candidates: readonly JudgedRollout[], all: readonly JudgedRollout[]) => string | undefined | Promise<string | undefined>,
): RolloutFilter {
	return {
		name,
		about,
		async judge(candidates, all) {
			const reason = await test(candidates, all);
			return candidates.map(() => ({ reason }));
		},
	};
}
