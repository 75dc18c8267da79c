import type { JudgedRollout } from "../outcome.js";
import { eachJudgement, type RolloutFilter } from "../rollout-filter.js";
import { addUp, readScores, type Scores } from "./read-scores.js";

/**
 * Keeps judgements whose reasoning bears out their answer: each image's scores add up to its stated total, and the image with the higher
 * total is the answer. Equal totals bear out neither. See `readScores` for the forms that are read; reasoning without scores is turned away.
 *
 * Passes: `Taste: Image 1: 7, Image 2: 4⏎Total: Image 1: 7, Image 2: 4` with "Image 1 is better"; fails with "Image 2 is better".
 */
export function scoresAgree(): RolloutFilter {
	return eachJudgement("scores-agree", disagreement);
}

function disagreement({ reasoning, answer, outcome, reason }: JudgedRollout): string | undefined {
	if (reasoning === undefined) return reason ?? `no reasoning, outcome ${outcome}`;
	const read = readScores(reasoning);
	if (!read.ok) return read.reason;
	const wrongSum = [0, 1].map((image) => sumProblem(read, image)).find((problem) => problem !== undefined);
	if (wrongSum !== undefined) return wrongSum;
	const [first, second] = read.totals;
	if (first === second) return `both totals are ${first}, which is no reason for an answer`;
	const higher = first > second ? 1 : 2;
	return answer === higher ? undefined : `Image ${higher} has the higher total, ${Math.max(first, second)}, but is not the answer`;
}

function sumProblem({ dimensions, totals, addends }: Scores, image: number): string | undefined {
	const total = totals[image];
	for (const scores of [dimensions[image], addends[image] ?? dimensions[image]]) {
		if (addUp(scores) !== total) return `Image ${image + 1}: ${scores.join("+")} is ${addUp(scores)}, not ${total}`;
	}
	return undefined;
}
