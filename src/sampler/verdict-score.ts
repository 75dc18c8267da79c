/** What a rollout keeps of its answers' log-probabilities. */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { VerdictScore } from "./rollout.js";

/** @param logProbs of "Image 1 is better" and "Image 2 is better", as shown @throws TypeError for another number of them */
export function verdictScore(
	logProbs: readonly number[],
	{ preferred, order }: Pick<PreferenceRecord, "preferred" | "order">,
): VerdictScore {
	const { image1, mass } = answerProbabilities(logProbs);
	const rounded = toFourDecimals(image1);
	return { image1: rounded, preferred: order[0] === preferred ? rounded : toFourDecimals(1 - rounded), mass: toFourDecimals(mass) };
}

/** P(the first answer against the second), and P(either). @throws TypeError for another number of them than two */
export function answerProbabilities(logProbs: readonly number[]): { image1: number; mass: number } {
	if (logProbs.length !== 2) throw new TypeError(`the model's answerLogProbs: expected one per answer (2), got ${logProbs.length}`);
	const [first, second] = logProbs;
	return { image1: 1 / (1 + Math.exp(second - first)), mass: Math.min(1, Math.exp(first) + Math.exp(second)) };
}

const toFourDecimals = (share: number) => Math.round(share * 1e4) / 1e4;
