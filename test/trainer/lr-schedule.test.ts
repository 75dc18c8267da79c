import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { LR_SCHEDULERS, lrSchedule } from "../../src/trainer/lr-schedule.js";

const cases = z
	.array(
		z.object({
			scheduler: z.enum(LR_SCHEDULERS),
			warmupSteps: z.number(),
			totalSteps: z.number(),
			learningRate: z.number(),
			minLrRatio: z.number().optional(),
			decaySteps: z.number().optional(),
			rates: z.array(z.number()),
		}),
	)
	.parse(JSON.parse(readFileSync(new URL("../fixtures/lr-schedules.json", import.meta.url), "utf8")));

describe("lrSchedule", () => {
	it.each(cases)("is transformers' $scheduler with $warmupSteps warm-up steps of $totalSteps", ({ rates, ...options }) => {
		const rateAt = lrSchedule(options);
		rates.forEach((rate, step) => {
			expect(rateAt(step), `step ${step}`).toBeCloseTo(rate, 12);
		});
	});

	it("rounds a warm-up ratio up, and lets warmupSteps go before it", () => {
		const base = { learningRate: 1, totalSteps: 50, scheduler: "constant" } as const;
		expect([1, 2].map(lrSchedule({ ...base, warmupRatio: 0.03 }))).toEqual([0.5, 1]);
		expect([1, 2].map(lrSchedule({ ...base, warmupRatio: 0.03, warmupSteps: 4 }))).toEqual([0.25, 0.5]);
	});

	it("decays over the last tenth, and refuses a warm-up and a decay that don't fit into the run", () => {
		const wsd = { learningRate: 1, totalSteps: 20, scheduler: "warmup_stable_decay" } as const;
		expect([17, 18, 19].map(lrSchedule(wsd))).toEqual([1, 1, 0.5]);
		expect(() => lrSchedule({ ...wsd, warmupSteps: 15, decaySteps: 6 })).toThrow(/15 steps of warm-up and 6 of decay, but 20 in all/);
	});
});
