import { describe, expect, it } from "vitest";
import { lengthBand, repeatedShare, repetition } from "../../../src/reward/filters/text.js";
import { rollout } from "../rollouts.js";
import { sift } from "./sift.js";

describe("repetition", () => {
	it.each([
		["a b c d e", 4, 0],
		// Runs of two: ab ba ab ba ab: two different among five.
		["a b a b a b", 2, 1 - 2 / 5],
		["so so so so so so", 4, 1 - 1 / 3],
		["a b", 4, 0],
		["猫 猫 猫 猫 猫", 1, 1 - 1 / 5],
	])("of %j with runs of %i is %f", (text, n, share) => expect(repeatedShare(text, n)).toBeCloseTo(share, 12));

	it("filters, as length does", async () => {
		const rollouts = [rollout(0, "on and on and on and on and on and on"), rollout(1, "one two three four five")];
		expect((await sift(rollouts, [repetition({ max: 0.5 })])).reasons[0]).toBe("75 % of its 4-grams are repeated, more than 50 %");
		expect((await sift(rollouts, [repetition({ max: 0.5 })])).fates).toEqual(["repetition", "kept"]);
		expect((await sift(rollouts, [lengthBand({ min: 5, max: 5 })])).fates).toEqual(["length", "kept"]);
		expect((await sift(rollouts, [lengthBand({ min: 6 })])).reasons[1]).toBe("5 tokens, fewer than 6");
	});
});
