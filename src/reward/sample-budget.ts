/**
 * Where the next round's judgements are worth drawing. A pair that was judged right every time teaches nothing new and is not asked again; what that
 * saves goes to the pairs that were judged right now and then, the same to each:
 *
 *   always right            0
 *   now and then            samplesPerRecord + ⌊samplesPerRecord · pairs always right / pairs now and then⌋, at most maxSamplesPerRecord
 *   never right, or no rate samplesPerRecord
 *
 * So the total is never above samplesPerRecord for every pair.
 */
import type { JudgedRollout } from "./outcome.js";
import { type PassRate, passRate } from "./pass-rate.js";

export interface SampleBudgetOptions {
	/** Samples per pair (and shown order) if all were asked alike. Default 1. */
	samplesPerRecord?: number;
	/** Default: four times `samplesPerRecord`. */
	maxSamplesPerRecord?: number;
}

/**
 * @param rates pass rates by record key, as `passRates` gives them
 * @returns samples per shown order by record key; a key that is not in it has no rate: `samplesPerRecord`
 * @throws RangeError for a number that is not whole, or a maximum below `samplesPerRecord`
 */
export function sampleBudget(
	rates: ReadonlyMap<string, PassRate>,
	{ samplesPerRecord = 1, maxSamplesPerRecord = 4 * samplesPerRecord }: SampleBudgetOptions = {},
): Map<string, number> {
	if (!Number.isInteger(samplesPerRecord) || samplesPerRecord < 1)
		throw new RangeError(`sampleBudget: samplesPerRecord: expected a whole number, 1 or more, got ${samplesPerRecord}`);
	if (!Number.isInteger(maxSamplesPerRecord) || maxSamplesPerRecord < samplesPerRecord)
		throw new RangeError(
			`sampleBudget: maxSamplesPerRecord: expected a whole number, ${samplesPerRecord} or more, got ${maxSamplesPerRecord}`,
		);
	const all = [...rates.values()];
	const saved = samplesPerRecord * all.filter(isAlwaysRight).length;
	const extra = Math.floor(saved / Math.max(1, all.filter(isBetween).length));
	const samples = (rate: PassRate) => {
		if (isAlwaysRight(rate)) return 0;
		return isBetween(rate) ? Math.min(samplesPerRecord + extra, maxSamplesPerRecord) : samplesPerRecord;
	};
	return new Map([...rates].map(([key, rate]) => [key, samples(rate)]));
}

const isAlwaysRight = ({ right, of }: PassRate) => of > 0 && right === of;
const isBetween = ({ right, of }: PassRate) => right > 0 && right < of;

/** How often each record was judged right, over both shown orders and all samples; the rollouts may stand in any order. */
export async function passRates(rollouts: Iterable<JudgedRollout> | AsyncIterable<JudgedRollout>): Promise<Map<string, PassRate>> {
	const rates = new Map<string, PassRate>();
	for await (const rollout of rollouts) {
		const before = rates.get(rollout.record.key) ?? { right: 0, of: 0 };
		const one = passRate([rollout]);
		const [right, of] = [before.right + one.right, before.of + one.of];
		rates.set(rollout.record.key, { right, of, rate: right / of });
	}
	return rates;
}
