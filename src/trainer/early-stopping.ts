/** When a run is no longer worth going on with, as transformers' EarlyStoppingCallback decides it. */
import type { Summing } from "./gradient-exchange.js";
import type { ResolvedOptions } from "./trainer-options.js";
import type { EvaluationRecord } from "./training-events.js";

export interface EarlyStoppingOptions {
	/** The score that counts. */
	metric: string;
	greaterIsBetter: boolean;
	/** Evaluations in a row that may bring nothing better. */
	patience: number;
	/** What a score must exceed the best by to be better. Default 0. */
	threshold?: number;
}

/** Whether the last `patience` evaluations were not better than the best before each of them. */
export function isExhausted(
	evaluations: readonly EvaluationRecord[],
	{ metric, greaterIsBetter, patience, threshold = 0 }: EarlyStoppingOptions,
): boolean {
	let best: number | undefined;
	let without = 0;
	for (const { scores } of evaluations) {
		if (scores[metric] === undefined) {
			without++; // no number
			continue;
		}
		const score = greaterIsBetter ? scores[metric] : -scores[metric];
		const better = best === undefined || score > best + threshold;
		without = better ? 0 : without + 1;
		best = best === undefined ? score : Math.max(best, score);
	}
	return without >= patience;
}

/** Whether no further step is made, in all processes alike: where one has had enough, whose evaluation may differ in a bit. */
export async function allStopEarly(
	workers: Summing,
	evaluations: readonly EvaluationRecord[],
	options: Pick<ResolvedOptions, "bestMetric" | "greaterIsBetter" | "earlyStoppingPatience" | "earlyStoppingThreshold">,
): Promise<boolean> {
	const { bestMetric: metric, greaterIsBetter, earlyStoppingPatience: patience, earlyStoppingThreshold: threshold } = options;
	if (metric === undefined || patience === Number.POSITIVE_INFINITY) return false;
	const enough = isExhausted(evaluations, { metric, greaterIsBetter, patience, threshold });
	const [processes] = await workers.sum([enough ? 1 : 0]);
	return processes > 0;
}
