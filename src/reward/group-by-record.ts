/**
 * A stream of rollouts as one array per record. A record's rollouts must stand together in the stream, as they do after
 * `loadDataset` and `generateCoT`: only one record's are held at a time. Where they don't, each run of them is a record of its own.
 */
import type { Rollout } from "../sampler/rollout.js";

export async function* groupByRecord<T extends Rollout>(rollouts: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T[]> {
	let group: T[] = [];
	for await (const rollout of rollouts) {
		if (group.length > 0 && group[0].record.key !== rollout.record.key) {
			yield group;
			group = [];
		}
		group.push(rollout);
	}
	if (group.length > 0) yield group;
}
