/** A filtered record as pairs to train on (DPO): the same that `writeExports` writes as LLaMA-Factory's `dpo` rows. */
import type { FilteredRecord } from "../reward/filter-rollouts.js";
import { trainingRows } from "./export/training-rows.js";
import type { PreferencePair } from "./preference-pair.js";
import type { ToConversationOptions } from "./to-conversation.js";

/**
 * @param record as `filterRollouts` gives it to `onRecord`
 * @returns a kept right and a wrong judgement of the same question in each pair, each judgement in one pair at most
 */
export function toPreferencePairs(record: FilteredRecord, options: Pick<ToConversationOptions, "imageRoot"> = {}): PreferencePair[] {
	return trainingRows(record, options).dpo.map(({ question, chosen, rejected, images, provenance }) => ({
		conversations: [{ from: "human", value: question }],
		chosen: { from: "gpt", value: chosen },
		rejected: { from: "gpt", value: rejected },
		...{ images, provenance },
	}));
}
