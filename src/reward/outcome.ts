import type { Rollout } from "../sampler/rollout.js";

/** Every rollout has exactly one outcome, and the counts of a run add up to its rollouts. `low-reward` needs rewards of the caller's. */
export const OUTCOMES = ["accepted", "wrong", "unparsable", "truncated", "repetition", "tie", "bad-image", "error", "low-reward"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** A rollout with its outcome; `reason` says what was wrong, where something was. */
export interface JudgedRollout extends Rollout {
	outcome: Outcome;
	/** The answer that was parsed: 1 or 2 (as shown), or none. */
	answer?: 1 | 2;
	/** What stood inside `<think>`, as generated but for white space around it; none without reasoning. */
	reasoning?: string;
	/** What stood inside `<answer>`, as generated but for white space around it. */
	answerText?: string;
	/** The sum of the caller's rewards, where there were any. */
	reward?: number;
	reason?: string;
	/** The filter that turned it away, where one of `filterRollouts` did; `reason` is that filter's then. */
	rejectedBy?: string;
}
