import { contentHash } from "../dataset/content-hash.js";
import type { ShownOrder } from "../dataset/preference-record.js";

/**
 * The seed of one rollout: a uint32 from (run seed, record key, shown order, sample index). So a rollout can be drawn again alone,
 * in another batch, on another machine, and the samples of a record differ from each other.
 */
export function rolloutSeed(runSeed: number, key: string, order: ShownOrder, sampleIndex: number): number {
	return contentHash("rollout", runSeed, key, order, sampleIndex).readUInt32BE(0);
}
