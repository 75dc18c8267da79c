import { collectReport, type ReportCollector, type RolloutFilter } from "../index.js";
import type { ReportOptions } from "./options.js";

/** Gathers what report.html shows; every filter has its count there, 0 included. */
export function openReport(
	{ gallery_size: gallery, gallery_seed: seed }: Pick<ReportOptions, "gallery_size" | "gallery_seed">,
	filters: readonly RolloutFilter[],
): ReportCollector {
	return collectReport({ gallery, seed, filters: filters.map(({ name }) => name) });
}
