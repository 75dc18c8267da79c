import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { FinishReason } from "../model/generative-model.js";

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
	error?: { kind: "bad-image" | "error"; message: string };
}
