/**
 * What a round draws, from the journals of the rounds before: more of the pairs that were judged right now and then, none of those that were always right
 * (`sampleBudget`). Those keep the judgements that they had, so that training from the base misses no pair.
 */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import { gatherByRecord } from "../reward/gather-by-record.js";
import { judgeRollout } from "../reward/judge-rollout.js";
import type { PassRate } from "../reward/pass-rate.js";
import { passRates, type SampleBudgetOptions, sampleBudget } from "../reward/sample-budget.js";
import { readJournalRollouts } from "../sampler/read-journal.js";
import type { Rollout } from "../sampler/rollout.js";

export interface PlanSamplesOptions extends SampleBudgetOptions {
	/** Whether reasoning was asked for. Default true. */
	useCot?: boolean;
}

export interface SamplePlan {
	/** For `generateCoT`'s `samplesPerRecord`: samples in each shown order. */
	samplesOf: (record: PreferenceRecord) => number;
	/** The judgements of pairs that are not asked again, of the last round that asked: a record's side by side. */
	carried: () => AsyncGenerator<Rollout>;
	/** Pairs by what they get. */
	pairs: { skipped: number; more: number; same: number };
}

/**
 * Reads the journals once, and once more when `carried` is iterated; in memory is a number or two per pair.
 * @param journals of the rounds before, the first one first; none: every pair gets `samplesPerRecord`
 * @throws JournalError for a file that is no journal, or damaged; RangeError as `sampleBudget`
 */
export async function planSamples(
	journals: readonly string[],
	{ useCot = true, samplesPerRecord = 1, maxSamplesPerRecord }: PlanSamplesOptions = {},
): Promise<SamplePlan> {
	const rates = new Map<string, PassRate>();
	const askedIn = new Map<string, string>();
	for (const journal of journals) {
		for (const [key, rate] of await passRates(judged(journal, useCot))) {
			rates.set(key, rate);
			askedIn.set(key, journal);
		}
	}
	const budget = sampleBudget(rates, { samplesPerRecord, maxSamplesPerRecord });
	async function* carried() {
		for (const journal of journals) yield* gatherByRecord(() => skippedOf(journal));
	}
	async function* skippedOf(journal: string) {
		for await (const rollout of readJournalRollouts(journal)) {
			const { key } = rollout.record;
			if (budget.get(key) === 0 && askedIn.get(key) === journal) yield rollout;
		}
	}
	const count = (is: (samples: number) => boolean) => [...budget.values()].filter(is).length;
	return {
		samplesOf: ({ key }) => budget.get(key) ?? samplesPerRecord,
		carried,
		pairs: { skipped: count((n) => n === 0), more: count((n) => n > samplesPerRecord), same: count((n) => n === samplesPerRecord) },
	};
}

async function* judged(journal: string, useCot: boolean) {
	for await (const rollout of readJournalRollouts(journal)) yield judgeRollout(rollout, { useCot });
}
