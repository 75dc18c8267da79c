/**
 * How good a judge is on held-out pairs, from one greedy rollout per pair and shown order:
 *
 *   await evaluate(generateCoT(heldOut, judge, { temperature: 0 }))
 *
 * It takes rollouts, as every stage takes the one before, and so it can also evaluate rollouts read from a file.
 */
import type { Rollout } from "../sampler/rollout.js";
import { judgeRollout } from "./judge-rollout.js";
import { collectStats, type PositionStats } from "./judgement-stats.js";
import type { JudgedRollout, Outcome } from "./outcome.js";
import { collectScores, type ScoreReport } from "./score-report.js";
import { type Proportion, proportion } from "./wilson-interval.js";

export interface Evaluation {
	/** Rollouts seen. */
	n: number;
	/**
	 * Right answers among the rollouts that were generated: an answer that can't be parsed, and a tie, is not right. Pairs whose image
	 * could not be read say nothing about the judge and are left out (they are in `outcomes`).
	 */
	accuracy: number;
	/** Wilson's 95 % interval of `accuracy`. */
	ci: readonly [number, number];
	/** Parsed answers (ties included) among the rollouts that were generated. */
	parseRate: number;
	/** How often "Image 1" is said among those that named a winner; 0.5 is no bias if both orders are shown equally often. */
	saysImage1: number;
	/** Accuracy, among those that named a winner, by where the preferred image was shown. */
	perOrder: { preferredFirst: PositionStats; preferredSecond: PositionStats };
	outcomes: Record<Outcome, number>;
	/** Generated tokens per rollout. */
	meanTokens: number;
	/** Of the verdicts' probabilities; absent where no rollout was scored (`generateCoT({ score: true })`). */
	scores?: ScoreReport;
}

/**
 * @param rollouts one per pair and shown order, greedy.
 * @param options.useCot whether reasoning was asked for. Default true.
 * @param options.onJudged given each judgement with what became of it.
 * @throws Error if there is more than one sample of a record, or nothing that was generated.
 */
export async function evaluate(
	rollouts: Iterable<Rollout> | AsyncIterable<Rollout>,
	{ useCot = true, onJudged }: { useCot?: boolean; onJudged?: (judgement: JudgedRollout) => void } = {},
): Promise<Evaluation> {
	const [collector, scores] = [collectStats(), collectScores()];
	for await (const rollout of rollouts) {
		if (rollout.sampleIndex > 0) {
			throw new Error(`evaluate: expected one rollout per record, got sample ${rollout.sampleIndex} of one; use samplesPerRecord 1`);
		}
		const judgement = judgeRollout(rollout, { useCot });
		collector.add(judgement);
		onJudged?.(judgement);
		scores.add(rollout);
	}
	const stats = collector.stats();
	const accuracy: Proportion = proportion(stats.correct, stats.parseRate.of);
	if (accuracy.of === 0) {
		throw new Error(
			`evaluate: expected at least one generated rollout, got ${stats.total} rollouts, none generated; check the data and its images`,
		);
	}
	const scored = scores.report();
	return {
		n: stats.total,
		accuracy: accuracy.value,
		ci: accuracy.interval,
		parseRate: stats.parseRate.value,
		saysImage1: stats.saysImage1.value,
		perOrder: { preferredFirst: stats.preferredShown.first, preferredSecond: stats.preferredShown.second },
		outcomes: stats.outcomes,
		meanTokens: stats.meanTokens,
		...(scored && { scores: scored }),
	};
}
