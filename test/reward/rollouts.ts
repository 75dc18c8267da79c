/** Rollouts by hand: the fixture's asymmetric record, and what was said of it. */
import type { Rollout } from "../../src/sampler/rollout.js";
import { record } from "../sampler/records.js";

/** A rollout of record `row`; see `record` for which image is preferred and how it is shown. */
export function rollout(row: number, completion: string, overrides: Partial<Rollout> = {}): Rollout {
	return {
		record: record(row),
		sampleIndex: 0,
		seed: row,
		promptText: "**Image 1:** <image>\n**Image 2:** <image>\nWhich?",
		completion,
		numTokens: completion.split(/\s+/).length,
		finishReason: "stop",
		...overrides,
	};
}
