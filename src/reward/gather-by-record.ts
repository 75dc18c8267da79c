import type { Rollout } from "../sampler/rollout.js";

/**
 * Rollouts of a record brought together where they don't stand together, as in a journal (by when they were finished) or in kept and rejected ones of two
 * files: the source is read twice, to count, and to hand a record's rollouts out when the last of them has come. In memory are a number per record, and the
 * rollouts of records that are not whole yet: few of a journal's, all kept ones where the rejected are read after them.
 * @param read gives the rollouts anew at each call
 * @returns rollouts, a record's side by side, in stored order first and by sample
 */
export async function* gatherByRecord<T extends Rollout>(read: () => AsyncIterable<T>): AsyncGenerator<T> {
	const missing = new Map<string, number>();
	for await (const { record } of read()) missing.set(record.key, (missing.get(record.key) ?? 0) + 1);
	const waiting = new Map<string, T[]>();
	for await (const rollout of read()) {
		const { key } = rollout.record;
		const group = waiting.get(key) ?? [];
		group.push(rollout);
		// A file that has grown meanwhile: what came too late for the count is left for the next time.
		if (group.length < (missing.get(key) ?? Number.POSITIVE_INFINITY)) waiting.set(key, group);
		else {
			waiting.delete(key);
			missing.delete(key);
			yield* group.sort((a, b) => a.record.order[0] - b.record.order[0] || a.sampleIndex - b.sampleIndex);
		}
	}
}
