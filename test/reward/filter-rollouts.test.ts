import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { correct, wellFormed } from "../../src/reward/filters/answer.js";
import { cap } from "../../src/reward/filters/cap.js";
import { difficultyBand, kOfN, majority, swapConsistent } from "../../src/reward/filters/consistency.js";
import { labelConfidence } from "../../src/reward/filters/label-confidence.js";
import { rewardFilter } from "../../src/reward/filters/reward-filter.js";
import { formatFilterReport } from "../../src/reward/format-filter-report.js";
import { rejectFiltered } from "../../src/reward/reject-filtered.js";
import { eachJudgement, type RolloutFilter } from "../../src/reward/rollout-filter.js";
import { BREAKDOWNS } from "../../src/reward/stats-breakdown.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { record } from "../sampler/records.js";
import { rolloutsOf, sift } from "./filters/sift.js";
import { rollout } from "./rollouts.js";

describe("a list of filters", () => {
	it("counts each rollout once, under the first that turns it away; those about the record are asked first", async () => {
		const rollouts = [...rolloutsOf(0, "rwRW"), ...rolloutsOf(1, "rrRR"), ...rolloutsOf(2, "r?w")];
		const { fates, report, records } = await sift(rollouts, [wellFormed(), correct(), cap(1), difficultyBand()]);
		expect(fates).toEqual([
			...["kept", "correct", "cap", "correct"],
			...["difficulty", "difficulty", "difficulty", "difficulty"],
			...["kept", "well-formed", "correct"],
		]);
		expect(report).toMatchObject({
			total: 11,
			kept: 2,
			rejected: { difficulty: 4, "well-formed": 1, correct: 3, cap: 1 },
			records: 3,
			recordsKept: 2,
			judgements: { total: 11, correct: 7 },
		});
		expect(Object.keys(report.rejected)).toEqual(["difficulty", "well-formed", "correct", "cap"]);
		expect(records.map(({ excludedBy }) => excludedBy)).toEqual([undefined, "difficulty", undefined]);
		expect(records[0].passRate).toEqual({ right: 2, of: 4, rate: 0.5 });
	});

	it("keeps as rejectFiltered does, where it asks what that asks", async () => {
		const rollouts = [0, 1, 2, 3].flatMap((row) => rolloutsOf(row, "rw?Rx"));
		const simple: Rollout[] = [];
		for await (const one of rejectFiltered(rollouts)) simple.push(one);
		expect((await sift(rollouts, [correct()])).kept).toEqual(simple);
	});

	it("without a filter keeps everything", async () => {
		expect((await sift(rolloutsOf(0, "rw?x"), [])).fates).toEqual(["kept", "kept", "kept", "kept"]);
	});

	it("reconciles, whatever comes in and whatever is asked", async () => {
		const marks = fc.stringMatching(/^[rwRW?x]{1,6}$/);
		const lists = fc.subarray([
			...[wellFormed(), correct(), swapConsistent(), kOfN(2), majority(), difficultyBand(), cap(2)],
			...[cap(1, { per: "order" }), rewardFilter((text) => text.length % 2, { name: "odd" }), labelConfidence({ minConfidence: 0.5 })],
		]);
		await fc.assert(
			fc.asyncProperty(fc.array(marks, { maxLength: 5 }), lists, async (groups, filters) => {
				const rollouts = groups.flatMap((group, row) => rolloutsOf(row, group));
				const { kept, rejected, records, report } = await sift(rollouts, filters);
				const turnedAway = Object.values(report.rejected).reduce((sum, count) => sum + count, 0);
				expect([report.total, report.kept, turnedAway]).toEqual([rollouts.length, kept.length, rejected.length]);
				expect(report.kept + turnedAway).toBe(report.total);
				expect(records.flatMap((one) => one.rollouts.map(({ sampleIndex }) => sampleIndex))).toEqual(
					rollouts.map(({ sampleIndex }) => sampleIndex),
				);
				for (const name of BREAKDOWNS) {
					const { rows } = report.breakdown[name];
					expect(rows.reduce((sum, { total }) => sum + total, 0)).toBe(report.total);
					expect(rows.reduce((sum, row) => sum + row.kept, 0)).toBe(report.kept);
				}
			}),
			{ numRuns: 60 },
		);
	});

	it("holds one record at a time", async () => {
		let drawn = 0;
		async function* many() {
			for (let row = 0; row < 50; row++) {
				for (const one of rolloutsOf(row, "rw")) {
					drawn++;
					yield one;
				}
			}
		}
		const stream = filterRollouts(many(), [correct()]);
		let seen = 0;
		for await (const _ of stream) expect(drawn - 2 * ++seen).toBeLessThanOrEqual(1);
		expect(seen).toBe(50);
	});

	it("refuses two filters of one name, and verdicts that are missing", async () => {
		expect(() => filterRollouts([], [cap(1), cap(2)])).toThrow('expected filters of different names, got "cap" twice');
		const mute: RolloutFilter = { name: "mute", about: "judgement", judge: () => [] };
		await expect(sift(rolloutsOf(0, "r"), [mute])).rejects.toThrow("filter mute: expected a verdict for each of 1 rollouts, got 0");
	});

	it("takes judged rollouts of a file and judges them anew", async () => {
		const stale = { ...rolloutsOf(0, "r")[0], outcome: "wrong", rejectedBy: "cap", reason: "old", reward: 3 };
		const { kept } = await sift([stale], [correct()]);
		expect(kept[0]).toMatchObject({ outcome: "accepted", answer: 2 - Number(kept[0].record.order[0] === kept[0].record.preferred) });
		for (const field of ["rejectedBy", "reason", "reward"]) expect(field in kept[0]).toBe(false);
	});
});

describe("filters", () => {
	const keptOf = async (marks: string, filter: RolloutFilter) => (await sift(rolloutsOf(0, marks), [correct(), filter])).kept.length;

	it("swapConsistent wants right ones in both orders", async () => {
		expect(await keptOf("rR", swapConsistent())).toBe(2);
		expect(await keptOf("rrW", swapConsistent())).toBe(0);
		expect(await keptOf("rrR", swapConsistent({ minRight: 2 }))).toBe(0);
		expect(await keptOf("rr", swapConsistent())).toBe(0);
		expect(await keptOf("wrrW", swapConsistent({ oneOrder: 1 }))).toBe(1);
		expect(await keptOf("rrrW", swapConsistent({ oneOrder: 2 }))).toBe(2);
		expect(await keptOf("rR", swapConsistent({ minRight: 2, oneOrder: 1 }))).toBe(1);
		expect(await keptOf("wW", swapConsistent({ oneOrder: 1 }))).toBe(0);
		expect(() => swapConsistent({ oneOrder: -1 })).toThrow("swapConsistent: oneOrder: expected a whole number, 0 or more, got -1");
		const { reasons } = await sift(rolloutsOf(0, "rrW"), [swapConsistent()]);
		expect(reasons[0]).toBe("right 2 times as stored and 0 times swapped; 1 of each asked for");
	});

	it("kOfN and majority count right ones among all that were generated", async () => {
		expect(await keptOf("rrw", kOfN(2))).toBe(2);
		expect(await keptOf("rww", kOfN(2))).toBe(0);
		expect(await keptOf("rrw", majority())).toBe(2);
		expect(await keptOf("rw", majority())).toBe(0);
		expect(await keptOf("rx", majority())).toBe(1);
		expect(await keptOf("r?", majority())).toBe(0);
	});

	it.each([
		["rrrr", {}, false],
		["wwww", {}, false],
		["rwww", {}, true],
		["rwww", { min: 0.25, max: 0.25 }, true],
		["rwww", { min: 0.26 }, false],
		["rrrw", { max: 0.74 }, false],
		["rrrr", { max: 1 }, true],
		["xx", {}, false],
	])("difficultyBand of %s with %j: kept %s", async (marks, options, expected) => {
		expect((await sift(rolloutsOf(0, marks), [difficultyBand(options)])).fates.includes("kept")).toBe(expected);
	});

	it("cap keeps the first, or the best, per record or per order", async () => {
		const samples = async (filter: RolloutFilter) =>
			(await sift(rolloutsOf(0, "rRrR"), [filter])).kept.map(({ sampleIndex }) => sampleIndex);
		expect(await samples(cap(3))).toEqual([0, 1, 2]);
		expect(await samples(cap(1, { per: "order" }))).toEqual([0, 1]);
		expect(await samples(cap(2, { best: ({ sampleIndex }) => sampleIndex }))).toEqual([2, 3]);
		expect(await samples(cap(1, { per: "order", best: ({ sampleIndex }) => sampleIndex }))).toEqual([2, 3]);
		await expect(samples(cap(1, { best: () => Number.NaN }))).rejects.toThrow(
			"filter best on record 0 of pairs.json: expected best to give a number",
		);
	});

	it.each([
		[{ minConfidence: 0.8 }, { confidence: 0.8 }, undefined],
		[{ minConfidence: 0.8 }, { confidence: 0.79 }, "confidence 0.79 is below 0.8"],
		[{ minConfidence: 0.8 }, { confidence: Number.NaN }, "confidence NaN is below 0.8"],
		[{ minConfidence: 0.8 }, {}, "has no confidence"],
		[{ minVotes: 10 }, { choiceDist: [8, 1] }, "9 votes, 10 asked for"],
		[{ minVoteShare: 0.75, minVotes: 8 }, { choiceDist: [6, 2] }, undefined],
		[{ minVoteShare: 0.75 }, { choiceDist: [2, 6] }, "2 of 8 votes are for the preferred image, a share of 0.75 asked for"],
		[{ minVoteShare: 0.5 }, { choiceDist: [0, 0] }, "0 of 0 votes are for the preferred image, a share of 0.5 asked for"],
		[{ minVoteShare: 0.75 }, { confidence: 1 }, "has no choice_dist"],
	])("labelConfidence %j of %j: %s", async (options, fields, expected) => {
		const one = rollout(0, "so", { record: record(0, fields) });
		expect((await sift([one], [labelConfidence(options)])).records[0].rollouts[0].rejectedBy === undefined).toBe(expected === undefined);
		if (expected !== undefined) expect((await sift([one], [labelConfidence(options)])).reasons).toEqual([expected]);
	});

	it("rewards join the list, sync or not, and their sum is the rollout's", async () => {
		const brief = (text: string) => Promise.resolve(text.length < 90 ? 1 : 0);
		const half = () => 0.5;
		const rollouts = [...rolloutsOf(0, "rr"), ...rolloutsOf(1, "r", "well ".repeat(30))];
		const { fates, kept, reasons } = await sift(rollouts, [correct(), brief, rewardFilter(half, { threshold: 0.5 })]);
		expect(fates).toEqual(["kept", "kept", "brief"]);
		expect(kept.map(({ reward }) => reward)).toEqual([1.5, 1.5]);
		expect(reasons[2]).toBe("reward 0 is below 1");
		await expect(sift(rolloutsOf(1, "r"), [rewardFilter(async () => Number.NaN, { name: "broken" })])).rejects.toThrow(
			"reward broken on record 1 of pairs.json: expected a finite number, got NaN",
		);
		expect((await sift(rolloutsOf(0, "x"), [brief])).reasons).toEqual(["lost"]);
	});

	it("may be a user's own", async () => {
		const polite = eachJudgement("polite", ({ completion }) => (completion.includes("please") ? undefined : "no please"));
		expect((await sift([...rolloutsOf(0, "r", "please"), ...rolloutsOf(1, "r")], [polite])).report.rejected).toEqual({ polite: 1 });
	});
});

describe("the report", () => {
	it("breaks down by the record's and the judgement's properties, and tells the selection's shift", async () => {
		const sure = { confidence: 0.95, model1: "a", model2: "b" };
		const unsure = { confidence: 0.55, model1: "a" };
		const rollouts = [
			...rolloutsOf(0, "rr").map((one) => ({ ...one, record: { ...one.record, ...sure }, numTokens: 5 })),
			...rolloutsOf(2, "ww").map((one) => ({ ...one, record: { ...one.record, ...unsure }, numTokens: 64 })),
		];
		const { report } = await sift(rollouts, [correct()]);
		const { confidence, model1, model2, tokens, difficulty, source } = report.breakdown;
		expect(confidence.rows.map(({ value, total, kept }) => [value, total, kept])).toEqual([
			["0.5–0.6", 2, 0],
			["0.9–1.0", 2, 2],
		]);
		// All: ½ and ½; kept: 0 and 1.
		expect(confidence.shift).toBe(0.5);
		expect(confidence.rows[1]).toMatchObject({ accuracy: { count: 2, of: 2 }, shareOfAll: 0.5, shareOfKept: 1 });
		expect(model1).toMatchObject({ rows: [{ value: "a", total: 4, kept: 2, accuracy: { count: 2, of: 4 } }], shift: 0 });
		expect(model2.rows.map(({ value }) => value)).toEqual(["b", "(none)"]);
		expect(tokens.rows.map(({ value }) => value)).toEqual(["4–7", "64–127"]);
		expect(difficulty.rows.map(({ value, kept }) => [value, kept])).toEqual([
			["never right", 0],
			["always right", 2],
		]);
		expect(source.rows[0].value).toBe("hpdv3:pairs.json");
		const text = formatFilterReport(report);
		expect(text).toContain("total: 4\n");
		expect(text).toContain("\nturned away by correct: 2\nkept: 2 of 4\nselection shift by source, 0 to 1: 0.000\n");
	});

	it("of nothing is nothing", async () => {
		const { report } = await sift([], [correct()]);
		expect(report).toMatchObject({ total: 0, kept: 0, rejected: { correct: 0 }, records: 0 });
		expect(formatFilterReport(report)).toContain("selection shift by tokens, 0 to 1: –");
	});
});
