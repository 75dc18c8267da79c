/**
 * Counts over judged rollouts: what `filtered_samples_stats.txt` and an evaluation are made from. Every rollout is counted once,
 * under its outcome; the outcomes add up to `total`.
 */
import { correctAnswer } from "./correct-answer.js";
import { type JudgedRollout, OUTCOMES, type Outcome } from "./outcome.js";
import { formatProportion, type Proportion, proportion } from "./wilson-interval.js";

/** The rollouts in which the preferred image was shown at one position. */
export interface PositionStats {
	total: number;
	/** Right among those that named a winner. */
	accuracy: Proportion;
}

export interface JudgementStats {
	total: number;
	accepted: number;
	/** Rollouts with the right answer; more than `accepted` only where rewards turned some away. */
	correct: number;
	/** Right among those that named a winner: ties, failed parses and failed rollouts are left out. */
	accuracy: Proportion;
	/** Right among all rollouts. */
	accuracyOfAll: Proportion;
	/** Unparsable and truncated ones, and those that went round in circles. */
	parseFailures: number;
	/** Parsed (ties included) among those that were generated. */
	parseRate: Proportion;
	outcomes: Record<Outcome, number>;
	/** How often "Image 1" is said among those that named a winner: the position bias. */
	saysImage1: Proportion;
	/** By where the preferred image was shown. */
	preferredShown: { first: PositionStats; second: PositionStats };
	/** Generated tokens per generated rollout; NaN where there is none. */
	meanTokens: number;
	/** Rollouts that were made to end their reasoning (`thinkingBudget`). */
	forced: number;
}

/** Takes rollouts one by one, and says at any time what they come to. */
export interface StatsCollector {
	add(rollout: JudgedRollout): void;
	stats(): JudgementStats;
}

export function collectStats(): StatsCollector {
	const outcomes = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<Outcome, number>;
	const positions = [
		{ total: 0, answered: 0, correct: 0 },
		{ total: 0, answered: 0, correct: 0 },
	];
	let [total, saysImage1, tokens, forced] = [0, 0, 0, 0];
	return {
		add(rollout) {
			total++;
			outcomes[rollout.outcome]++;
			tokens += rollout.numTokens;
			if (rollout.forced) forced++;
			const right = correctAnswer(rollout.record);
			const position = positions[right - 1];
			position.total++;
			if (rollout.answer === undefined) return;
			position.answered++;
			if (rollout.answer === 1) saysImage1++;
			if (rollout.answer === right) position.correct++;
		},
		stats() {
			const [first, second] = positions;
			const answered = first.answered + second.answered;
			const correct = first.correct + second.correct;
			const parseFailures = outcomes.unparsable + outcomes.truncated + outcomes.repetition;
			const generated = total - outcomes["bad-image"] - outcomes.error;
			return {
				total,
				accepted: outcomes.accepted,
				correct,
				accuracy: proportion(correct, answered),
				accuracyOfAll: proportion(correct, total),
				parseFailures,
				parseRate: proportion(generated - parseFailures, generated),
				outcomes: { ...outcomes },
				saysImage1: proportion(saysImage1, answered),
				preferredShown: { first: positionStats(first), second: positionStats(second) },
				meanTokens: generated === 0 ? Number.NaN : tokens / generated,
				forced,
			};
		},
	};
}

function positionStats({ total, answered, correct }: { total: number; answered: number; correct: number }): PositionStats {
	return { total, accuracy: proportion(correct, answered) };
}

/** The text of `filtered_samples_stats.txt`: one fact a line, 95 % intervals in brackets. */
export function formatStats(stats: JudgementStats): string {
	const share = (part: Proportion) => `${formatProportion(part)}, ${part.count} of ${part.of}`;
	const { first, second } = stats.preferredShown;
	const lines: [string, string | number][] = [
		["total", stats.total],
		["accepted", stats.accepted],
		["correct", stats.correct],
		["accuracy, of those that named a winner", share(stats.accuracy)],
		["accuracy, of all", share(stats.accuracyOfAll)],
		["parse failures", stats.parseFailures],
		["parsed, of those generated", share(stats.parseRate)],
		...OUTCOMES.map((outcome): [string, number] => [`outcome ${outcome}`, stats.outcomes[outcome]]),
		['says "Image 1", of those that named a winner', share(stats.saysImage1)],
		[`accuracy, preferred image shown first (${first.total})`, share(first.accuracy)],
		[`accuracy, preferred image shown second (${second.total})`, share(second.accuracy)],
		...(stats.forced > 0 ? [["made to end their reasoning", stats.forced] as [string, number]] : []),
		["mean tokens", Number.isNaN(stats.meanTokens) ? "–" : stats.meanTokens.toFixed(1)],
	];
	return `${lines.map(([name, value]) => `${name}: ${value}`).join("\n")}\n`;
}
