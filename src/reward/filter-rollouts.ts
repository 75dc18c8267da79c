/**
 * A list of filters over a stream of rollouts, record by record:
 *
 *   filterRollouts(rollouts, [correct(), scoresAgree(), swapConsistent(), cap(2)])
 *
 * Filters about the record are asked first, then those about its judgements, each kind in the order of the list; the first that turns a
 * rollout away is the one it is counted under. So `kept` and the counts of all filters add up to what came in. One record's rollouts are
 * in memory at a time; near-duplicate filters keep hashes beside them.
 */
import type { Rollout } from "../sampler/rollout.js";
import { collectFilterReport, type FilterReport, type RecordCounts } from "./filter-report.js";
import { rewardFilter } from "./filters/reward-filter.js";
import { groupByRecord } from "./group-by-record.js";
import { judgeRollout } from "./judge-rollout.js";
import type { JudgedRollout } from "./outcome.js";
import { type PassRate, passRate } from "./pass-rate.js";
import type { AnyReward } from "./rewards.js";
import type { RolloutFilter, Verdict } from "./rollout-filter.js";

/** All rollouts of one record with what became of them: those without `rejectedBy` are kept. */
export interface FilteredRecord {
	rollouts: readonly JudgedRollout[];
	passRate: PassRate;
	/** The filter about the record that left it out; nothing of it is exported then. */
	excludedBy?: string;
}

export interface FilterRolloutsOptions {
	/** Whether reasoning was asked for. Default true. */
	useCot?: boolean;
	/** Given every rollout that is not kept, with `rejectedBy` and `reason`; awaited. */
	onRejected?: (rollout: JudgedRollout) => void | Promise<void>;
	/** Given each record when its rollouts have been decided on, before they are yielded; awaited. `writeExports` takes them. */
	onRecord?: (record: FilteredRecord) => void | Promise<void>;
	/** Counts the records, and makes the `report`; `collectReport`'s shows them on a page as well. Default: one of its own. */
	counts?: RecordCounts;
}

/** The kept rollouts, to be iterated once, and the report so far. */
export interface KeptRollouts extends AsyncIterable<JudgedRollout> {
	readonly report: FilterReport;
}

/**
 * @param rollouts in records' order; judged ones, read from a file, are judged anew.
 * @param filters a plain reward in the list asks for 1: see `rewardFilter`.
 * @throws TypeError at once for two filters of one name; while iterating: what `rollouts`, a filter or a callback throws.
 */
export function filterRollouts(
	rollouts: Iterable<Rollout> | AsyncIterable<Rollout>,
	filters: readonly (RolloutFilter | AnyReward)[],
	{ useCot = true, onRejected, onRecord, counts: given }: FilterRolloutsOptions = {},
): KeptRollouts {
	const asked = inOrder(filters.map((filter) => (typeof filter === "function" ? rewardFilter(filter) : filter)));
	const counts = given ?? collectFilterReport(asked.map(({ name }) => name));
	async function* sift(): AsyncGenerator<JudgedRollout> {
		for await (const group of groupByRecord(rollouts)) {
			const record = await decide(
				group.map((rollout) => judgeRollout(unjudged(rollout), { useCot })),
				asked,
			);
			counts.add(record);
			await onRecord?.(record);
			for (const rollout of record.rollouts) {
				if (rollout.rejectedBy === undefined) yield rollout;
				else await onRejected?.(rollout);
			}
		}
	}
	const iterator = sift();
	return {
		[Symbol.asyncIterator]: () => iterator,
		get report() {
			return counts.report();
		},
	};
}

function inOrder(filters: RolloutFilter[]): RolloutFilter[] {
	const names = filters.map(({ name }) => name);
	const twice = names.find((name, i) => names.indexOf(name) !== i);
	if (twice !== undefined) {
		throw new TypeError(
			`filterRollouts: expected filters of different names, got ${JSON.stringify(twice)} twice; give one a name of its own`,
		);
	}
	return [...filters.filter(({ about }) => about === "record"), ...filters.filter(({ about }) => about === "judgement")];
}

async function decide(all: JudgedRollout[], filters: readonly RolloutFilter[]): Promise<FilteredRecord> {
	let left = all;
	let excludedBy: string | undefined;
	for (const filter of filters) {
		if (left.length === 0) break;
		const { name, about } = filter;
		const verdicts = await filter.judge(left, all);
		if (verdicts.length !== left.length) {
			throw new Error(`filter ${name}: expected a verdict for each of ${left.length} rollouts, got ${verdicts.length}`);
		}
		left = left.filter((rollout, i) => stays(rollout, name, verdicts[i]));
		if (about === "record" && left.length === 0) excludedBy = name;
	}
	return { rollouts: all, passRate: passRate(all), ...(excludedBy !== undefined && { excludedBy }) };
}

/** Enters the verdict into the rollout, which is this pipeline's own. */
function stays(rollout: JudgedRollout, name: string, { reason, reward }: Verdict): boolean {
	if (reward !== undefined) rollout.reward = (rollout.reward ?? 0) + reward;
	if (reason === undefined) return true;
	Object.assign(rollout, { rejectedBy: name, reason });
	return false;
}

/** Without what an earlier judging added. */
function unjudged(rollout: Rollout): Rollout {
	const { record, sampleIndex, seed, promptText, completion, numTokens, finishReason, forced, score, error } = rollout;
	const optional = { ...(forced && { forced }), ...(score && { score }), ...(error && { error }) };
	return { record, sampleIndex, seed, promptText, completion, numTokens, finishReason, ...optional };
}
