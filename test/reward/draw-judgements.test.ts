import { describe, expect, it } from "vitest";
import { drawJudgements } from "../../src/reward/draw-judgements.js";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import { judgement, record } from "../sampler/records.js";
import { rollout } from "./rollouts.js";

const bothWays = (row: number) =>
	(
		[
			[0, 1],
			[1, 0],
		] as const
	).map((order) =>
		judgeRollout(rollout(row, judgement(1), { record: record(row, { key: ((row * 7) % 20).toString(16).padStart(2, "0"), order }) })),
	);
const drawOf = (pairs: number, rows: number[]) => {
	const draw = drawJudgements(pairs);
	for (const row of rows) for (const one of bothWays(row)) draw.add(one);
	return draw.judgements().map(({ record: { key, order } }) => `${key} ${order}`);
};

describe("drawJudgements", () => {
	it("takes the same pairs, with all their judgements, whatever the order", () => {
		const rows = Array.from({ length: 20 }, (_, i) => i);
		const expected = ["00 0,1", "00 1,0", "01 0,1", "01 1,0", "02 0,1", "02 1,0"];
		expect(drawOf(3, rows)).toEqual(expected);
		expect(drawOf(3, rows.toReversed())).toEqual(expected);
		expect(
			drawOf(
				3,
				rows.toSorted((a, b) => ((a * 3) % 20) - ((b * 3) % 20)),
			),
		).toEqual(expected);
	});

	it("takes all where there are no more, and none of none", () => {
		expect(drawOf(3, [1])).toEqual(["07 0,1", "07 1,0"]);
		expect(drawOf(0, [1, 2])).toEqual([]);
	});
});
