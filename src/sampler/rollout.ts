import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { FinishReason } from "../model/generative-model.js";

/** How likely the judge finds either answer at the place of its answer; from 0 to 1, to four decimals (kernels' rounding is in the sixth). */
export interface VerdictScore {
	/** "Image 1 is better" against "Image 2 is better", as shown. */
	image1: number;
	/** The preferred image against the other. */
	preferred: number;
	/** Both answers together, of all that the judge might have said there. */
	mass: number;
}

/** One sampled judgement of one record, in the order in which the record says its images were shown. */
export interface Rollout {
	/** `record.order` is the shown order; the completion's "Image 1" is `record.images[record.order[0]]`. */
	record: PreferenceRecord;
	/** 0 … samplesPerRecord − 1. */
	sampleIndex: number;
	/** uint32, from (run seed, record key, order, sample index). */
	seed: number;
	/** The user turn's text as the judge read it, images apart (for the conversation that is exported). */
	promptText: string;
	/** The text as generated, special tokens left out. Empty where `finishReason` is `error`. */
	completion: string;
	/** Generated tokens, the end token included. */
	numTokens: number;
	/** `error`: this rollout could not be generated, and `error` says why. */
	finishReason: FinishReason | "error";
	/** Part of the completion is not the judge's own: it was made to end its reasoning (`thinkingBudget`). Absent otherwise. */
	forced?: true;
	/** Absent where it was not asked for (`score`), and where the judge never came to its answer. */
	score?: VerdictScore;
	error?: { kind: "bad-image" | "error"; message: string };
}
