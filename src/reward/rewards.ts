/**
 * Rewards are plain functions of a completion and its record; a caller puts the ones that matter into an array. Each gives
 * 0 to 1, so that a sum has a meaning.
 */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import { correctAnswer } from "./correct-answer.js";
import { type Judgement, parseJudgement } from "./parse-judgement.js";

/** @returns how good the completion is, usually 0 to 1; NaN and infinities are refused where it is used. */
export type Reward = (completion: string, record: PreferenceRecord) => number;

/** A reward that may take its time: a question to another judge, a program that is run. `filterRollouts` takes both kinds. */
export type AnyReward = (completion: string, record: PreferenceRecord) => number | Promise<number>;

/**
 * 1 for a text in the strict form, with or without reasoning; the answer may be wrong or a tie.
 * 1: `<think>Image 2 is blurred.</think><answer>Image 1 is better</answer>`; 0: `Image 1 is better`.
 */
export const formatReward: Reward = (completion) => (judgementOf(completion).ok ? 1 : 0);

/**
 * 1 for the right answer in the shown order; 0 for a wrong one, a tie, and a text that can't be parsed.
 * With the preferred image shown second, 1: `<answer>Image 2 is better</answer>`; 0: `<answer>Image 1 is better</answer>`.
 */
export const accuracyReward: Reward = (completion, record) => {
	const judgement = judgementOf(completion);
	return judgement.ok && judgement.winner === correctAnswer(record) ? 1 : 0;
};

function judgementOf(completion: string): Judgement {
	return parseJudgement(completion, { useCot: /<\/?think>/.test(completion) });
}
