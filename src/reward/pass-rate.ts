import { correctAnswer } from "./correct-answer.js";
import type { JudgedRollout } from "./outcome.js";

/** Whether it names the preferred image, whatever else is wrong with it. */
export function isRight({ answer, record }: JudgedRollout): boolean {
	return answer === correctAnswer(record);
}

export interface PassRate {
	/** Rollouts with the right answer. */
	right: number;
	/** Rollouts that were generated: an answer that can't be parsed counts as not right, an image that can't be read doesn't count. */
	of: number;
	/** right / of; NaN where nothing was generated. */
	rate: number;
}

/** How often the judge is right on one record, over both shown orders and all samples. */
export function passRate(rollouts: readonly JudgedRollout[]): PassRate {
	const right = rollouts.filter(isRight).length;
	const of = rollouts.filter(({ finishReason }) => finishReason !== "error").length;
	return { right, of, rate: right / of };
}
