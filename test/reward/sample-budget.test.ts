import { expect, it } from "vitest";
import { sampleBudget } from "../../src/index.js";

const rate = (right: number, of: number) => ({ right, of, rate: right / of });

it("asks no more what was always right, and gives what that saves to those right now and then", () => {
	const rates = new Map([
		["always", rate(8, 8)],
		["always, too", rate(8, 8)],
		["often", rate(7, 8)],
		["seldom", rate(1, 8)],
		["never", rate(0, 8)],
		["not generated", rate(0, 0)],
	]);
	expect(Object.fromEntries(sampleBudget(rates, { samplesPerRecord: 4 }))).toEqual({
		...{ always: 0, "always, too": 0, often: 8, seldom: 8, never: 4, "not generated": 4 },
	});
});

it("never draws more in all than if all were asked alike, and never more of one pair than its most", () => {
	for (let always = 0; always < 12; always++) {
		for (let between = 0; between < 6; between++) {
			const group = (name: string, count: number, one: ReturnType<typeof rate>) =>
				Array.from({ length: count }, (_, i) => [`${name}${i}`, one] as const);
			const rates = new Map([...group("a", always, rate(2, 2)), ...group("b", between, rate(1, 2)), ...group("n", 2, rate(0, 2))]);
			const budget = [...sampleBudget(rates, { samplesPerRecord: 3, maxSamplesPerRecord: 7 }).values()];
			expect(budget.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(3 * rates.size);
			expect(Math.max(0, ...budget)).toBeLessThanOrEqual(7);
		}
	}
	const few = sampleBudget(new Map([...Array(20).keys()].map((i) => [`${i}`, i < 19 ? rate(1, 1) : rate(1, 2)])));
	expect(few.get("19")).toBe(4);
});

it("refuses numbers that are not whole, and a maximum below the base", () => {
	expect(() => sampleBudget(new Map(), { samplesPerRecord: 0.5 })).toThrow("samplesPerRecord: expected a whole number, 1 or more, got 0.5");
	expect(() => sampleBudget(new Map(), { samplesPerRecord: 4, maxSamplesPerRecord: 3 })).toThrow(
		"expected a whole number, 4 or more, got 3",
	);
});
