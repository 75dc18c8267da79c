import type { JudgedRollout } from "../outcome.js";
import type { AnyReward } from "../rewards.js";
import type { RolloutFilter, Verdict } from "../rollout-filter.js";

/**
 * A reward of yours as a filter: what it gives, usually 0 to 1, must reach `threshold`. It is added to the rollout's `reward`, which `cap`
 * can choose the best by. Failed rollouts, which have no completion, are turned away unasked.
 * @param options.threshold Default 1.
 * @param options.name Default: the function's own.
 * @throws Error, while filtering, for a reward that is not a finite number.
 */
export function rewardFilter(reward: AnyReward, { threshold = 1, name = reward.name || "reward" } = {}): RolloutFilter {
	async function verdict({ completion, record, finishReason, reason }: JudgedRollout): Promise<Verdict> {
		if (finishReason === "error") return { reason: reason ?? "could not be generated" };
		const value = await reward(completion, record);
		if (!Number.isFinite(value)) {
			const { row, file } = record.source;
			throw new Error(`reward ${name} on record ${row} of ${file}: expected a finite number, got ${value}`);
		}
		return { reward: value, ...(value < threshold && { reason: `reward ${value} is below ${threshold}` }) };
	}
	return { name, about: "judgement", judge: (candidates) => Promise.all(candidates.map(verdict)) };
}
