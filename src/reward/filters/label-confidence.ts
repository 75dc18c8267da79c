import type { PreferenceRecord } from "../../dataset/preference-record.js";
import { type RolloutFilter, wholeRecord } from "../rollout-filter.js";

export interface LabelConfidenceOptions {
	/** Least `confidence`, 0 to 1. Default: not asked for. */
	minConfidence?: number;
	/** Least share of the votes (`choiceDist`) for the preferred image, 0 to 1. Default: not asked for. */
	minVoteShare?: number;
	/** Least number of votes. Default: not asked for. */
	minVotes?: number;
}

/** Keeps records whose label is sure enough. A record without the field that is asked for is turned away. About the record. */
export function labelConfidence(options: LabelConfidenceOptions): RolloutFilter {
	return wholeRecord("label-confidence", "record", ([{ record }]) => doubt(record, options));
}

function doubt(record: PreferenceRecord, { minConfidence, minVoteShare, minVotes }: LabelConfidenceOptions): string | undefined {
	const { confidence, choiceDist, preferred } = record;
	if (minConfidence !== undefined) {
		if (confidence === undefined) return "has no confidence";
		// Written so that NaN doesn't pass.
		if (!(confidence >= minConfidence)) return `confidence ${confidence} is below ${minConfidence}`;
	}
	if (minVoteShare === undefined && minVotes === undefined) return undefined;
	if (choiceDist === undefined) return "has no choice_dist";
	const votes = choiceDist.reduce((sum, count) => sum + count, 0);
	if (minVotes !== undefined && !(votes >= minVotes)) return `${votes} votes, ${minVotes} asked for`;
	if (minVoteShare !== undefined && !(choiceDist[preferred] / votes >= minVoteShare)) {
		return `${choiceDist[preferred]} of ${votes} votes are for the preferred image, a share of ${minVoteShare} asked for`;
	}
	return undefined;
}
