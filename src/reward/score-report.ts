/**
 * Calibration of a judge's verdict probabilities (`Rollout.score`), in two readings: of each rollout in the order in which it was shown, and of each pair with both
 * shown orders averaged, in which a leaning to one position cancels out.
 */
import type { Rollout } from "../sampler/rollout.js";
import { type Calibration, collectCalibration, formatCalibration } from "./calibration.js";
import { correctAnswer } from "./correct-answer.js";

export interface ScoreReport {
	/** The event: "Image 1", as shown, is the preferred one. */
	rollouts: Calibration;
	/**
	 * Pairs that were scored in both orders, each once, with the mean over its orders (and within them its samples). The event: the first image is preferred, where
	 * the record's key decides which image is called the first, so that either may be the preferred one however a file is ordered.
	 */
	pairs: Calibration;
}

export interface ScoreCollector {
	/** @param rollout in records' order: a record's rollouts stand together */
	add(rollout: Pick<Rollout, "record" | "score">): void;
	/** Undefined where nothing was scored. To be asked between two records: the one that was added last counts as whole. */
	report(): ScoreReport | undefined;
}

/** P(the preferred image) of one record, summed by shown order. */
interface Pair {
	key: string;
	sums: [number, number];
	counts: [number, number];
}

/** @param bins of equal width; default 10 */
export function collectScores({ bins = 10 }: { bins?: number } = {}): ScoreCollector {
	const [rollouts, pairs] = [collectCalibration({ bins }), collectCalibration({ bins })];
	let pair: Pair | undefined;
	const close = () => {
		if (pair && pair.counts[0] > 0 && pair.counts[1] > 0) {
			const preferred = (pair.sums[0] / pair.counts[0] + pair.sums[1] / pair.counts[1]) / 2;
			const preferredIsFirst = pair.key.charCodeAt(pair.key.length - 1) % 2 === 0;
			pairs.add({ probability: preferredIsFirst ? preferred : 1 - preferred, happened: preferredIsFirst });
		}
		pair = undefined;
	};
	return {
		add({ record, score }) {
			if (pair && pair.key !== record.key) close();
			if (!score) return;
			rollouts.add({ probability: score.image1, happened: correctAnswer(record) === 1 });
			pair ??= { key: record.key, sums: [0, 0], counts: [0, 0] };
			pair.sums[record.order[0]] += score.preferred;
			pair.counts[record.order[0]]++;
		},
		report() {
			const own = rollouts.calibration();
			if (own.n === 0) return undefined;
			close();
			return { rollouts: own, pairs: pairs.calibration() };
		},
	};
}

/** As lines of text. */
export function formatScoreReport({ rollouts, pairs }: ScoreReport, options: { table?: boolean } = {}): string[] {
	const ofPairs = pairs.n > 0 ? formatCalibration(pairs, "P(first image), both orders", options) : [];
	return [...formatCalibration(rollouts, "P(Image 1)", options), ...ofPairs];
}
