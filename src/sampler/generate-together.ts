/**
 * Rollouts of several processes: each draws every so manyth record's, and all are given all of them, in the records' order. They are those of one process:
 * a rollout does not depend on what it is drawn with.
 */
import { stopTogether } from "../backend/cluster/stop-together.js";
import type { WorkerGroup } from "../backend/cluster/worker-group.js";
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { Rollout } from "./rollout.js";

/** A rollout, and which record it is of. */
type Placed = [record: number, rollout: Rollout];

/**
 * To be called in all processes, with the same records. Nothing is yielded before all are done.
 *
 * @param generate draws for the records it is given: `generateCoT`
 * @param signal ends it in all processes. @throws its reason, or StoppedElsewhereError; WorkerLostError; what `generate` throws
 */
export async function* generateTogether(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	workers: WorkerGroup,
	generate: (own: AsyncIterable<PreferenceRecord>) => AsyncIterable<Rollout>,
	signal?: AbortSignal,
): AsyncGenerator<Rollout> {
	const own = await stopTogether(workers, signal, () => drawShare(records, workers, generate));
	const shares = await workers.shareBytes(Buffer.from(JSON.stringify(own)));
	const all = shares.flatMap((bytes) => JSON.parse(Buffer.from(bytes).toString()) as Placed[]);
	for (const [, rollout] of all.sort(([a], [b]) => a - b)) yield rollout; // a stable sort: a record's samples stay in order
}

async function drawShare(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	{ rank, size }: WorkerGroup,
	generate: (own: AsyncIterable<PreferenceRecord>) => AsyncIterable<Rollout>,
): Promise<Placed[]> {
	const places = new Map<PreferenceRecord, number>();
	async function* share() {
		let at = 0;
		for await (const record of records) {
			if (at % size === rank) {
				places.set(record, at);
				yield record;
			}
			at++;
		}
	}
	const placed: Placed[] = [];
	for await (const rollout of generate(share())) placed.push([places.get(rollout.record) as number, rollout]);
	return placed;
}
