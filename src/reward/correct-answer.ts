import type { PreferenceRecord } from "../dataset/preference-record.js";

/** The answer that is right for a shown order: 1 or 2, as in "Image 1 is better". */
export function correctAnswer(record: Pick<PreferenceRecord, "preferred" | "order">): 1 | 2 {
	return record.order[0] === record.preferred ? 1 : 2;
}
