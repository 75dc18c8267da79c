/** Filtered records to export: of the fixture's images, some right and some wrong in each shown order. */
import type { FilteredRecord } from "../../../src/reward/filter-rollouts.js";
import { correct } from "../../../src/reward/filters/answer.js";
import { difficultyBand } from "../../../src/reward/filters/consistency.js";
import { rolloutsOf, sift } from "../../reward/filters/sift.js";

/** Record 0 has right and wrong ones, record 1 is always right and excluded, record 2 has nothing but wrong ones as stored. */
export async function filteredRecords(): Promise<FilteredRecord[]> {
	const rollouts = [...rolloutsOf(0, "rrwRWW?", "Größer: “2 > 1”"), ...rolloutsOf(1, "rR"), ...rolloutsOf(2, "wwR")];
	return (await sift(rollouts, [correct(), difficultyBand()])).records;
}
