import type { Rollout } from "../sampler/rollout.js";

/** Every rollout has exactly one outcome, and the counts of a run add up to its rollouts. */
export const OUTCOMES = ["accepted", "wrong", "unparsable", "truncated", "tie", "bad-image", "error"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** A rollout with its outcome; `reason` says what was wrong, where something was. */
export interface JudgedRollout extends Rollout {
	outcome: Outcome;
	/** The answer that was parsed: 1 or 2 (as shown), or none. */
	answer?: 1 | 2;
	reason?: string;
}
