/** Filters about a judgement's text: its length, and how much of it is repeated. */
import { eachJudgement, type RolloutFilter } from "../rollout-filter.js";
import { nGrams, wordsOf } from "./words.js";

/** Keeps judgements of `min` to `max` generated tokens, ends included. */
export function lengthBand({ min = 0, max = Number.POSITIVE_INFINITY }: { min?: number; max?: number }): RolloutFilter {
	return eachJudgement("length", ({ numTokens }) => {
		if (numTokens < min) return `${numTokens} tokens, fewer than ${min}`;
		return numTokens > max ? `${numTokens} tokens, more than ${max}` : undefined;
	});
}

/** Keeps judgements that closed their reasoning by themselves: of one that was made to (`thinkingBudget`) a part is not the judge's own. */
export function unforced(): RolloutFilter {
	return eachJudgement("forced", ({ forced }) => (forced ? "was made to close its reasoning" : undefined));
}

/**
 * The share of a text's n-grams of words that stood in it before: 1 − distinct / all; 0 for a text of fewer than n words.
 * "seq-rep-n" of Welleck et al., "Neural text generation with unlikelihood training" (2019).
 */
export function repeatedShare(text: string, n = 4): number {
	const grams = nGrams(wordsOf(text), n);
	return grams.length === 0 ? 0 : 1 - new Set(grams).size / grams.length;
}

/** Keeps judgements of which at most the share `max` is repeated. @param options.n words per n-gram. Default 4. */
export function repetition({ max, n = 4 }: { max: number; n?: number }): RolloutFilter {
	return eachJudgement("repetition", ({ completion }) => {
		const share = repeatedShare(completion, n);
		return share > max ? `${(100 * share).toFixed(0)} % of its ${n}-grams are repeated, more than ${(100 * max).toFixed(0)} %` : undefined;
	});
}
