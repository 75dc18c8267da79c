import { type RolloutFilter, wholeRecord } from "../rollout-filter.js";
import { MinHashIndex } from "./min-hash-index.js";

export interface NearDuplicatePromptsOptions {
	/** Least share of common words and word pairs of captions of one kind, estimated. Default 0.8. */
	similarity?: number;
	/** Records kept of each kind. Default 1. */
	max?: number;
}

/**
 * Keeps the first `max` records of those with near-duplicate captions, whatever their judgements come to. About the record. Holds some
 * 5 kB per kind of caption. Data sets with many pairs of one caption, as HPDv3 is, want a `max` above 1.
 * @throws RangeError for options out of range.
 */
export function nearDuplicatePrompts({ similarity = 0.8, max = 1 }: NearDuplicatePromptsOptions = {}): RolloutFilter {
	if (!(max >= 1)) throw new RangeError(`nearDuplicatePrompts: max: expected 1 or more, got ${max}`);
	const index = new MinHashIndex(similarity);
	/** Of each kind of caption: its first record, and how many were kept. */
	const kinds: { key: string; kept: number }[] = [];
	return wholeRecord("near-duplicate-prompts", "record", ([{ record }]) => {
		const near = index.nearOrAdd(record.prompt);
		if (near === undefined) {
			kinds.push({ key: record.key, kept: 1 });
			return undefined;
		}
		const kind = kinds[near];
		if (kind.kept >= max) return `asks for what record ${kind.key} asks for`;
		kind.kept++;
		return undefined;
	});
}
