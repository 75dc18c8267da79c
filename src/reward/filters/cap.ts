/** Filters that choose among a record's judgements, so that easy records don't crowd out hard ones. They belong at the list's end. */
import type { JudgedRollout } from "../outcome.js";
import type { RolloutFilter } from "../rollout-filter.js";

export interface CapOptions {
	/** Counts each shown order of a record by itself. Default `record`. */
	per?: "record" | "order";
	/** Keeps those it gives most, among equals the stream's first. Default: the stream's first. */
	best?: (rollout: JudgedRollout) => number;
	/** Default `cap`, `cap per order`, or `best` where there is a `best`. */
	name?: string;
}

/**
 * Keeps at most `k` judgements per record, or per record and shown order. Best-k is `cap(2, { best: ({ reward = 0 }) => reward })`.
 * @throws RangeError for a `k` below 1; Error, while filtering, for a `best` that gives NaN.
 */
export function cap(k: number, { per = "record", best, name = nameOf(per, best) }: CapOptions = {}): RolloutFilter {
	if (!(k >= 1)) throw new RangeError(`cap: k: expected 1 or more, got ${k}`);
	return {
		name,
		about: "judgement",
		judge(candidates) {
			const chosen = new Set<JudgedRollout>();
			for (const group of per === "order" ? byOrder(candidates) : [candidates]) {
				const ranked = best ? rank(group, best, name) : group;
				for (const rollout of ranked.slice(0, k)) chosen.add(rollout);
			}
			return candidates.map((rollout) =>
				chosen.has(rollout) ? {} : { reason: `not among the ${best ? "best" : "first"} ${k} of its ${per}` },
			);
		},
	};
}

function nameOf(per: "record" | "order", best: CapOptions["best"]): string {
	return `${best ? "best" : "cap"}${per === "order" ? " per order" : ""}`;
}

function byOrder(rollouts: readonly JudgedRollout[]): JudgedRollout[][] {
	return [0, 1].map((first) => rollouts.filter(({ record }) => record.order[0] === first));
}

function rank(group: readonly JudgedRollout[], best: (rollout: JudgedRollout) => number, name: string): JudgedRollout[] {
	const scored = group.map((rollout) => ({ rollout, score: best(rollout) }));
	const bad = scored.find(({ score }) => Number.isNaN(score));
	if (bad) {
		const { row, file } = bad.rollout.record.source;
		throw new Error(`filter ${name} on record ${row} of ${file}: expected best to give a number, got NaN`);
	}
	return scored.sort((a, b) => b.score - a.score).map(({ rollout }) => rollout);
}
