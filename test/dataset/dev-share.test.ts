import { expect, it } from "vitest";
import { inDevShare } from "../../src/index.js";

const captions = Array.from({ length: 4000 }, (_, i) => ({ prompt: `caption ${i}` }));
const drawn = (share: number, seed?: number) => captions.filter((record) => inDevShare(record, share, seed));

it("takes about the share of captions, the same ones at every call, others with another seed", () => {
	expect(drawn(0.2).length / captions.length).toBeCloseTo(0.2, 1);
	expect(drawn(0.2)).toEqual(drawn(0.2, 0));
	const both = drawn(0.2, 1).filter((record) => inDevShare(record, 0.2, 0));
	expect(both.length / captions.length).toBeCloseTo(0.04, 1);
});

it("a greater share holds the smaller one; none is none; more than all is refused", () => {
	expect(drawn(0.3)).toEqual(expect.arrayContaining(drawn(0.1)));
	expect(drawn(0)).toEqual([]);
	expect(() => inDevShare({ prompt: "x" }, 1)).toThrow("share: expected a number from 0 to below 1, got 1");
});
