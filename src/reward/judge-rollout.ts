import type { Rollout } from "../sampler/rollout.js";
import { correctAnswer } from "./correct-answer.js";
import type { JudgedRollout } from "./outcome.js";
import { parseJudgement } from "./parse-judgement.js";
import type { Reward } from "./rewards.js";

export interface JudgeOptions {
	/** Whether reasoning was asked for. Default true. */
	useCot?: boolean;
	/** Conditions beside a right answer in the right form: the sum of these must reach `threshold`. Default: none. */
	rewards?: readonly Reward[];
	/** Default: the number of rewards, that is 1 from each. */
	threshold?: number;
}

/**
 * Gives a rollout its one outcome: could it be generated, is it whole, can it be parsed, is it right, and do the caller's rewards
 * agree: the first "no" decides.
 * @throws Error if a reward is not a finite number.
 */
export function judgeRollout(
	rollout: Rollout,
	{ useCot = true, rewards = [], threshold = rewards.length }: JudgeOptions = {},
): JudgedRollout {
	if (rollout.finishReason === "error") {
		return { ...rollout, outcome: rollout.error?.kind ?? "error", reason: rollout.error?.message ?? "no reason was given" };
	}
	const parsed = parseJudgement(rollout.completion, { useCot });
	if (!parsed.ok) {
		const at = `at ${rollout.numTokens} tokens, before its answer was complete`;
		if (rollout.finishReason === "length" && parsed.incomplete) return { ...rollout, outcome: "truncated", reason: `cut ${at}` };
		if (rollout.finishReason === "repetition" && parsed.incomplete)
			return { ...rollout, outcome: "repetition", reason: `repeats itself, stopped ${at}` };
		return { ...rollout, outcome: "unparsable", reason: parsed.reason };
	}
	const { winner, reasoning, answerText } = parsed;
	const said = { ...rollout, answerText, ...(reasoning !== undefined && { reasoning }) };
	if (winner === "tie") return { ...said, outcome: "tie", reason: `no winner: ${JSON.stringify(answerText)}` };
	const right = correctAnswer(rollout.record);
	const answered = { ...said, answer: winner };
	if (winner !== right) return { ...answered, outcome: "wrong", reason: `image ${right} is preferred, as shown` };
	if (rewards.length === 0) return { ...answered, outcome: "accepted" };
	const reward = sumOf(rewards, rollout);
	if (reward >= threshold) return { ...answered, reward, outcome: "accepted" };
	return { ...answered, reward, outcome: "low-reward", reason: `reward ${reward} is below ${threshold}` };
}

function sumOf(rewards: readonly Reward[], { completion, record }: Rollout): number {
	return rewards.reduce((sum, reward, i) => {
		const value = reward(completion, record);
		if (Number.isFinite(value)) return sum + value;
		const name = reward.name || `number ${i}`;
		throw new Error(`reward ${name} on record ${record.source.row} of ${record.source.file}: expected a finite number, got ${value}`);
	}, 0);
}
