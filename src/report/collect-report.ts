/**
 * What a report is made from, gathered from a stream of judged rollouts, a record at a time: counts, histograms and a bounded sample for the gallery. Memory
 * does not grow with the stream (the histograms hold a count per different length, and per different number of right judgements).
 */
import { collectFilterReport, type FilterReport, type RecordCounts } from "../reward/filter-report.js";
import type { JudgedRollout } from "../reward/outcome.js";
import { type GalleryItem, sampleGallery } from "./gallery-sample.js";

export interface CollectReportOptions {
	/** Judgements in the gallery, at most. Default 200. */
	gallery?: number;
	/** Of the draw for the gallery. Default 0. */
	seed?: number;
	/** Filters whose counts are shown though they turn nothing away, in the order in which they are asked. Default: those met. */
	filters?: readonly string[];
}

/** What a filter report has, `rejected` by what turned rollouts away: a filter, or else an outcome; and what the page shows beside. */
export interface ReportData extends FilterReport {
	/** Per number of generated tokens: how many judgements, and how many of them were kept. */
	lengths: ReadonlyMap<number, { total: number; kept: number }>;
	/** Per record's "right/of": how many records, and of how many of them something was kept. */
	passRates: ReadonlyMap<string, { total: number; kept: number }>;
	gallery: { items: GalleryItem[]; size: number; seed: number };
}

/** `filterRollouts` takes it as its `counts`; or `add` a record at a time. */
export interface ReportCollector extends RecordCounts {
	data(): ReportData;
}

/** @throws RangeError for a `gallery` that is not a whole number, 0 or more. */
export function collectReport({ gallery = 200, seed = 0, filters = [] }: CollectReportOptions = {}): ReportCollector {
	if (!(Number.isSafeInteger(gallery) && gallery >= 0)) {
		throw new RangeError(`report: gallery: expected a whole number, 0 or more, got ${gallery}`);
	}
	const [counts, sample] = [collectFilterReport(filters), sampleGallery(gallery, seed)];
	const [lengths, passRates] = [new Map<number, { total: number; kept: number }>(), new Map<string, { total: number; kept: number }>()];
	return {
		add({ rollouts, passRate }) {
			const decided = rollouts.map((rollout) => ({ rollout, fate: fateOf(rollout) }));
			counts.add({
				rollouts: decided.map(({ rollout, fate }) => (fate === KEPT ? rollout : { ...rollout, rejectedBy: fate })),
				passRate,
			});
			for (const { rollout, fate } of decided) {
				if (rollout.finishReason !== "error") count(lengths, rollout.numTokens, fate === KEPT);
				sample.add({ rollout, fate, passRate });
			}
			const someKept = decided.some(({ fate }) => fate === KEPT);
			count(passRates, `${passRate.right}/${passRate.of}`, someKept);
		},
		report: () => counts.report(),
		data() {
			const report = counts.report();
			const items = sample.items(Object.keys(report.rejected));
			return { ...report, lengths, passRates, gallery: { items, size: gallery, seed } };
		},
	};
}

const KEPT = "kept";

/** Rollouts that no filter has seen are kept if they are right. */
function fateOf({ rejectedBy, outcome }: JudgedRollout): string {
	return rejectedBy ?? (outcome === "accepted" ? KEPT : outcome);
}

function count<K>(counts: Map<K, { total: number; kept: number }>, key: K, kept: boolean): void {
	const there = counts.get(key) ?? { total: 0, kept: 0 };
	counts.set(key, { total: there.total + 1, kept: there.kept + Number(kept) });
}
