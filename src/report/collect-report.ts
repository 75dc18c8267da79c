/**
 * What a report is made from, gathered from a stream of judged rollouts, a record at a time: counts, histograms and a bounded sample for the gallery. Memory
 * does not grow with the stream (the histograms hold a count per different length, and per different number of right judgements).
 */
import type { FilteredRecord } from "../reward/filter-rollouts.js";
import { collectStats, type JudgementStats } from "../reward/judgement-stats.js";
import type { JudgedRollout } from "../reward/outcome.js";
import { collectScores, type ScoreReport } from "../reward/score-report.js";
import { collectBreakdown, type StatsBreakdown } from "../reward/stats-breakdown.js";
import { type GalleryItem, sampleGallery } from "./gallery-sample.js";

export interface CollectReportOptions {
	/** Judgements in the gallery, at most. Default 200. */
	gallery?: number;
	/** Of the draw for the gallery. Default 0. */
	seed?: number;
	/** Filters whose counts are shown though they turn nothing away, in the order in which they are asked. Default: those met. */
	filters?: readonly string[];
}

export interface ReportData {
	total: number;
	kept: number;
	/** By what turned them away: a filter, or else an outcome. */
	rejected: Record<string, number>;
	records: number;
	recordsKept: number;
	judgements: JudgementStats;
	breakdown: StatsBreakdown;
	/** Per number of generated tokens: how many judgements, and how many of them were kept. */
	lengths: ReadonlyMap<number, { total: number; kept: number }>;
	/** Per record's "right/of": how many records, and of how many of them something was kept. */
	passRates: ReadonlyMap<string, { total: number; kept: number }>;
	/** Of the verdicts' probabilities; absent where no rollout was scored. */
	scores?: ScoreReport;
	gallery: { items: GalleryItem[]; size: number; seed: number };
}

export interface ReportCollector {
	/** Takes one record with all its rollouts: `filterRollouts`' `onRecord` gives them. */
	add(record: Pick<FilteredRecord, "rollouts" | "passRate">): void;
	data(): ReportData;
}

/** @throws RangeError for a `gallery` that is not a whole number, 0 or more. */
export function collectReport({ gallery = 200, seed = 0, filters = [] }: CollectReportOptions = {}): ReportCollector {
	if (!(Number.isSafeInteger(gallery) && gallery >= 0)) {
		throw new RangeError(`report: gallery: expected a whole number, 0 or more, got ${gallery}`);
	}
	const [stats, breakdown, scores, sample] = [collectStats(), collectBreakdown(), collectScores(), sampleGallery(gallery, seed)];
	const rejected: Record<string, number> = Object.fromEntries(filters.map((name) => [name, 0]));
	const [lengths, passRates] = [new Map<number, { total: number; kept: number }>(), new Map<string, { total: number; kept: number }>()];
	let [total, kept, records, recordsKept] = [0, 0, 0, 0];
	return {
		add({ rollouts, passRate }) {
			const before = kept;
			for (const rollout of rollouts) {
				const fate = fateOf(rollout);
				const isKept = fate === "kept";
				total++;
				if (isKept) kept++;
				else rejected[fate] = (rejected[fate] ?? 0) + 1;
				stats.add(rollout);
				scores.add(rollout);
				breakdown.add(isKept ? rollout : { ...rollout, rejectedBy: fate }, passRate);
				if (rollout.finishReason !== "error") count(lengths, rollout.numTokens, isKept);
				sample.add({ rollout, fate, passRate });
			}
			records++;
			if (kept > before) recordsKept++;
			count(passRates, `${passRate.right}/${passRate.of}`, kept > before);
		},
		data: () => ({
			...{ total, kept, rejected: { ...rejected }, records, recordsKept, lengths, passRates },
			...{
				judgements: stats.stats(),
				breakdown: breakdown.breakdown(),
				scores: scores.report(),
				gallery: { items: sample.items(Object.keys(rejected)), size: gallery, seed },
			},
		}),
	};
}

/** Rollouts that no filter has seen are kept if they are right. */
function fateOf({ rejectedBy, outcome }: JudgedRollout): string {
	return rejectedBy ?? (outcome === "accepted" ? "kept" : outcome);
}

function count<K>(counts: Map<K, { total: number; kept: number }>, key: K, kept: boolean): void {
	const there = counts.get(key) ?? { total: 0, kept: 0 };
	counts.set(key, { total: there.total + 1, kept: there.kept + Number(kept) });
}
