import { expect, it } from "vitest";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { correct, wellFormed } from "../../src/reward/filters/answer.js";
import { samplingScalars } from "../../src/reward/sampling-scalars.js";
import { judgement } from "../sampler/records.js";
import { rollout } from "./rollouts.js";

it("counts what was kept, turned away by each filter, and put aside of the rows", async () => {
	// Of record 0 image 2 is the preferred one as shown, of record 1 too, of record 2 image 1.
	const kept = filterRollouts([rollout(0, judgement(2)), rollout(1, judgement(1)), rollout(2, "?")], [wellFormed(), correct()]);
	for await (const _ of kept);
	const input = { rows: 7, records: 3, bad: { "missing-image": 3, duplicate: 1 }, ties: 2 } as const;
	const scalars = samplingScalars(kept.report, input);
	expect(scalars).toMatchObject({
		...{ "sample/judgements": 3, "sample/kept": 1, "sample/pairs": 3, "sample/pairs_kept": 1 },
		...{ "sample/turned_away/well-formed": 1, "sample/turned_away/correct": 1 },
		...{ "sample/outcome/accepted": 1, "sample/outcome/wrong": 1, "sample/outcome/unparsable": 1, "sample/outcome/bad-image": 0 },
		...{ "sample/accuracy": 0.5, "sample/parse_rate": 2 / 3 },
		...{ "data/rows": 7, "data/pairs": 3, "data/quarantined": 4, "data/ties": 2 },
		...{ "data/quarantined_as/missing-image": 3, "data/quarantined_as/duplicate": 1 },
	});
});

it("has no shares of nothing, and says nothing of rows that it was not told of", () => {
	const scalars = samplingScalars(filterRollouts([], []).report);
	expect(scalars).toMatchObject({ "sample/judgements": 0, "sample/kept": 0 });
	expect(Object.keys(scalars).filter((tag) => tag.startsWith("data/") || tag === "sample/accuracy")).toEqual([]);
});
