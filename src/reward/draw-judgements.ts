/**
 * A few judgements to look at, always of the same pairs: those whose keys are least. Keys are hashes of what the pairs are, so the draw is even,
 * and the same for the same pairs in any order.
 */
import type { JudgedRollout } from "./outcome.js";

export interface JudgementDraw {
	/** Takes each judgement as it comes. */
	add(judgement: JudgedRollout): void;
	/** Those of the pairs drawn, by the pairs' keys; of one pair in the order in which they came. */
	judgements(): JudgedRollout[];
}

/** @param pairs whose judgements are kept, in both shown orders where there are both; 0: none */
export function drawJudgements(pairs: number): JudgementDraw {
	const drawn = new Map<string, JudgedRollout[]>();
	const keys = () => [...drawn.keys()].sort();
	return {
		add(judgement) {
			const { key } = judgement.record;
			const ofPair = drawn.get(key);
			if (ofPair) {
				ofPair.push(judgement);
				return;
			}
			const greatest = keys().at(-1);
			if (drawn.size >= pairs) {
				if (greatest === undefined || key > greatest) return;
				drawn.delete(greatest);
			}
			drawn.set(key, [judgement]);
		},
		judgements: () => keys().flatMap((key) => drawn.get(key) ?? []),
	};
}
