/** Filters about what was answered. */
import { isRight } from "../pass-rate.js";
import { eachJudgement, type RolloutFilter } from "../rollout-filter.js";

/** Keeps judgements that name the preferred image, as shown. A tie, a failed parse and a failed rollout are not right. */
export function correct(): RolloutFilter {
	return eachJudgement("correct", (rollout) => (isRight(rollout) ? undefined : (rollout.reason ?? `outcome ${rollout.outcome}`)));
}

const FORMLESS = new Set(["unparsable", "truncated", "repetition", "bad-image", "error"]);

/** Keeps judgements in the strict form of `parseJudgement`: right, wrong, or a tie. */
export function wellFormed(): RolloutFilter {
	return eachJudgement("well-formed", ({ outcome, reason }) => (FORMLESS.has(outcome) ? (reason ?? `outcome ${outcome}`) : undefined));
}
