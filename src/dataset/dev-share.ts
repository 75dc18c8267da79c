/**
 * A part of the training pairs to choose by: when to stop, which judge is best. What is chosen by is no longer held out, so it is neither trained on nor
 * reported. A pair belongs to it by its caption and a seed, so both shown orders do, and all pairs of one caption: whatever the order of files and rows. With few
 * captions, look at what another seed takes.
 */
import { contentHash } from "./content-hash.js";
import type { PreferenceRecord } from "./preference-record.js";

/**
 * Whether a record belongs to the dev set.
 * @param share of all captions, from 0 to below 1
 * @param seed of the draw. Default 0.
 * @throws RangeError for another share
 */
export function inDevShare({ prompt }: Pick<PreferenceRecord, "prompt">, share: number, seed = 0): boolean {
	if (!(share >= 0 && share < 1)) throw new RangeError(`inDevShare: share: expected a number from 0 to below 1, got ${share}`);
	return contentHash("dev", seed, prompt).readUInt32BE(0) / 2 ** 32 < share;
}
