/**
 * The rejection in rejection sampling: rollouts in, the right ones out, each of the others to `onRejected` with its outcome. Nothing
 * is lost between the two: accepted and rejected add up to what came in.
 */
import type { Rollout } from "../sampler/rollout.js";
import { type JudgeOptions, judgeRollout } from "./judge-rollout.js";
import { collectStats, type JudgementStats } from "./judgement-stats.js";
import type { JudgedRollout } from "./outcome.js";

export interface RejectFilteredOptions extends JudgeOptions {
	/** Given every rollout that is not accepted; awaited, so that it may write to a file. */
	onRejected?: (rollout: JudgedRollout) => void | Promise<void>;
}

/** The accepted rollouts, to be iterated once, and the statistics of all rollouts seen so far. */
export interface FilteredRollouts extends AsyncIterable<JudgedRollout> {
	readonly stats: JudgementStats;
}

/**
 * @throws while iterating: what `rollouts` or `onRejected` throws, and an Error for a reward that is not a finite number.
 */
export function rejectFiltered(
	rollouts: Iterable<Rollout> | AsyncIterable<Rollout>,
	{ onRejected, ...judging }: RejectFilteredOptions = {},
): FilteredRollouts {
	const collector = collectStats();
	async function* accepted(): AsyncGenerator<JudgedRollout> {
		for await (const rollout of rollouts) {
			const judged = judgeRollout(rollout, judging);
			collector.add(judged);
			if (judged.outcome === "accepted") yield judged;
			else await onRejected?.(judged);
		}
	}
	const iterator = accepted();
	return {
		[Symbol.asyncIterator]: () => iterator,
		get stats() {
			return collector.stats();
		},
	};
}
