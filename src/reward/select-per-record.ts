/**
 * Chooses among a record's accepted rollouts. A judge that leans to "Image 1" is right by luck in one shown order; asking for a
 * right rollout in both orders leaves such luck out, and a cap keeps easy records from crowding out hard ones.
 *
 * A record's rollouts must stand together in the stream, as they do with `loadDataset`'s `order: "both"`: only one record's are
 * held at a time. Where they don't, each run of them is treated as a record of its own.
 */
import { groupByRecord } from "./group-by-record.js";
import type { JudgedRollout } from "./outcome.js";

export interface SelectPerRecordOptions {
	/** Keep a record's rollouts only where each shown order has one. Default false. */
	bothOrders?: boolean;
	/** At most so many of each record and shown order: the first ones of the stream. Default: all. */
	maxPerOrder?: number;
}

/** What was kept; `kept + droppedOneOrder + droppedOverCap` is the number that came in. */
export interface SelectionStats {
	/** Records with an accepted rollout, and those of them that were kept. */
	records: number;
	recordsKept: number;
	kept: number;
	/** Rollouts of records that were right in one order only. */
	droppedOneOrder: number;
	droppedOverCap: number;
}

/** The chosen rollouts, to be iterated once, and the counts so far. */
export interface SelectedRollouts extends AsyncIterable<JudgedRollout> {
	readonly stats: SelectionStats;
}

/** @throws RangeError at once for a `maxPerOrder` below 1. */
export function selectPerRecord(
	accepted: Iterable<JudgedRollout> | AsyncIterable<JudgedRollout>,
	{ bothOrders = false, maxPerOrder = Number.POSITIVE_INFINITY }: SelectPerRecordOptions = {},
): SelectedRollouts {
	if (!(maxPerOrder >= 1)) throw new RangeError(`selectPerRecord: maxPerOrder: expected 1 or more, got ${maxPerOrder}`);
	const stats: SelectionStats = { records: 0, recordsKept: 0, kept: 0, droppedOneOrder: 0, droppedOverCap: 0 };
	async function* select(): AsyncGenerator<JudgedRollout> {
		for await (const group of groupByRecord(accepted)) {
			const chosen = choose(group, bothOrders, maxPerOrder);
			stats.records++;
			if (chosen.length === 0) stats.droppedOneOrder += group.length;
			else {
				stats.recordsKept++;
				stats.kept += chosen.length;
				stats.droppedOverCap += group.length - chosen.length;
			}
			yield* chosen;
		}
	}
	const iterator = select();
	return {
		[Symbol.asyncIterator]: () => iterator,
		get stats() {
			return { ...stats };
		},
	};
}

function choose(group: JudgedRollout[], bothOrders: boolean, maxPerOrder: number): JudgedRollout[] {
	const counts = [0, 0];
	const chosen = group.filter(({ record }) => ++counts[record.order[0]] <= maxPerOrder);
	return bothOrders && counts.includes(0) ? [] : chosen;
}
