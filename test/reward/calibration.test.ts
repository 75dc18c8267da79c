/** Calibration against scikit-learn's numbers, closed forms, and what swapping the images must do. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { calibrate, formatCalibration, type Observation } from "../../src/reward/calibration.js";
import { evaluate } from "../../src/reward/evaluate.js";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { formatFilterReport } from "../../src/reward/format-filter-report.js";
import { collectScores } from "../../src/reward/score-report.js";
import { proportion } from "../../src/reward/wilson-interval.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { judgement, record } from "../sampler/records.js";
import { rollout } from "./rollouts.js";

interface Reference {
	probability: number[];
	happened: number[];
	counts: number[];
	share: number[];
	mean: number[];
	ece: number;
	brier: number;
	auc: number;
}
const reference = JSON.parse(readFileSync("test/fixtures/calibration.json", "utf8")) as Reference;
const observations = reference.probability.map((probability, i): Observation => ({ probability, happened: reference.happened[i] === 1 }));

describe("calibrate", () => {
	it("equals scikit-learn: bins, ECE, Brier score, AUC", () => {
		const { bins, ece, brier, auc, n } = calibrate(observations);
		expect(n).toBe(400);
		expect(bins.map(({ happened }) => happened.of)).toEqual(reference.counts);
		const filled = bins.filter(({ happened }) => happened.of > 0);
		for (const [i, bin] of filled.entries()) {
			expect(bin.happened.value).toBeCloseTo(reference.share[i], 12);
			expect(bin.meanProbability).toBeCloseTo(reference.mean[i], 12);
		}
		expect(ece).toBeCloseTo(reference.ece, 12);
		expect(brier).toBeCloseTo(reference.brier, 12);
		expect(auc).toBeCloseTo(reference.auc, 12);
	});

	it("of four predictions, by hand", () => {
		const four = [
			{ probability: 0.9, happened: true },
			{ probability: 0.9, happened: false },
			{ probability: 0.2, happened: false },
			{ probability: 0.5, happened: true },
		];
		const { ece, brier, auc, accuracy, baseRate, bins } = calibrate(four, { bins: 2 });
		expect(ece).toBeCloseTo((2 * Math.abs(1 / 2 - 0.9) + 2 * Math.abs(1 / 2 - 0.35)) / 4);
		expect(brier).toBeCloseTo((0.01 + 0.81 + 0.04 + 0.25) / 4);
		expect(auc).toBe((0.5 + 1 + 0 + 1) / 4);
		expect(accuracy).toEqual(proportion(2, 4));
		expect(baseRate).toEqual(proportion(2, 4));
		expect(bins[1].happened.interval).toEqual(proportion(1, 2).interval);
	});

	it("of complements: the same ECE, Brier score, AUC and accuracy", () => {
		// Off the bins' edges: (from, to] has no mirror image there.
		const own = observations.map(({ probability, happened }) => ({ probability: 0.00003 + probability * 0.9999, happened }));
		const [one, other] = [
			calibrate(own),
			calibrate(own.map(({ probability: p, happened }) => ({ probability: 1 - p, happened: !happened }))),
		];
		for (const name of ["ece", "brier", "auc"] as const) expect(other[name]).toBeCloseTo(one[name], 9);
		expect(other.accuracy).toEqual(one.accuracy);
	});

	it("of nothing, and of one kind only, has no numbers where there are none", () => {
		const nothing = calibrate([]);
		expect([nothing.n, nothing.ece, nothing.brier, nothing.auc]).toEqual([0, Number.NaN, Number.NaN, Number.NaN]);
		expect(calibrate([{ probability: 1, happened: true }])).toMatchObject({ ece: 0, brier: 0, auc: Number.NaN });
		expect(formatCalibration(nothing, "P").join("\n")).toContain("P: AUC: –");
	});

	it.each([-0.1, 1.1, Number.NaN])("refuses %s", (probability) => {
		expect(() => calibrate([{ probability, happened: true }])).toThrow(/expected a probability from 0 to 1, got/);
	});

	it("refuses half a bin", () => {
		expect(() => calibrate([], { bins: 2.5 })).toThrow(/bins: expected a whole number, 1 or more, got 2.5/);
	});
});

/** Both orders of record `i`, of which the judge thinks that the preferred image has `p`, and that "Image 1" has `bias` more. */
function bothOrders(i: number, p: number, bias: number): Rollout[] {
	return (
		[
			[0, 1],
			[1, 0],
		] as const
	).map((order) => {
		const shown = record(i, { order: [...order] as [0, 1] | [1, 0] });
		const first = order[0] === shown.preferred;
		const image1 = (first ? p : 1 - p) + bias;
		const score = { image1, preferred: first ? image1 : 1 - image1, mass: 0.9 };
		return rollout(i, judgement(image1 > 0.5 ? 1 : 2), { record: shown, score });
	});
}

describe("scores of rollouts", () => {
	it("with both orders averaged, a leaning to one position is gone", () => {
		const scores = collectScores();
		for (let i = 0; i < 40; i++) for (const one of bothOrders(i, 0.6, 0.3)) scores.add(one);
		const report = scores.report();
		expect(report?.rollouts.n).toBe(80);
		expect(report?.rollouts.accuracy.value).toBe(0.5); // "Image 1" whatever is shown
		expect(report?.pairs.n).toBe(40);
		expect(report?.pairs.accuracy.value).toBe(1);
		expect(report?.pairs.brier).toBeCloseTo(0.16);
		expect(report?.pairs.ece).toBeCloseTo(0.4);
	});

	it("leave out what was not scored, and pairs scored in one order", () => {
		const scores = collectScores();
		expect(scores.report()).toBeUndefined();
		const [first, second] = bothOrders(1, 0.7, 0);
		scores.add({ ...second, score: undefined });
		expect(scores.report()).toBeUndefined();
		scores.add(first);
		expect(scores.report()).toMatchObject({ rollouts: { n: 1 }, pairs: { n: 0 } });
	});

	it("come into the evaluation, the filter report and its text", async () => {
		const all = Array.from({ length: 10 }, (_, i) => bothOrders(i, 0.8, 0)).flat();
		const { scores } = await evaluate(all);
		expect(scores?.rollouts).toMatchObject({ n: 20, accuracy: { count: 20 } });
		const filtered = filterRollouts(all, []);
		for await (const kept of filtered) expect(kept.score?.preferred).toBeCloseTo(0.8);
		expect(filtered.report.scores).toEqual(scores);
		const text = formatFilterReport(filtered.report);
		expect(text).toContain("P(Image 1): expected calibration error, 10 bins: 0.200");
		expect(text).toContain("P(first image), both orders: likelier one right: 100.0 %");
		expect((await evaluate([rollout(1, judgement(1))])).scores).toBeUndefined();
	});
});

describe("outcomes of sampling's own ends", () => {
	it("a judgement that went round in circles is counted as that, and as a parse failure", async () => {
		const filtered = filterRollouts(
			[rollout(1, "<think>so so so", { finishReason: "repetition" }), rollout(2, judgement(1), { forced: true })],
			[],
		);
		const kept = [];
		for await (const one of filtered) kept.push(one);
		expect(kept[0]).toMatchObject({ outcome: "repetition", reason: expect.stringContaining("repeats itself") as string });
		expect(kept[1].forced).toBe(true);
		expect(filtered.report.judgements).toMatchObject({ parseFailures: 1, forced: 1, outcomes: { repetition: 1 } });
	});
});
