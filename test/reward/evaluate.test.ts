import { describe, expect, it } from "vitest";
import { evaluate } from "../../src/reward/evaluate.js";
import { proportion } from "../../src/reward/wilson-interval.js";
import { generateCoT } from "../../src/sampler/generate-cot.js";
import { fakeModel } from "../../src/testing.js";
import { judgement, record, records, rightAnswer, WORSE } from "../sampler/records.js";
import { rollout } from "./rollouts.js";

const both = (count: number) =>
	records(count).flatMap((one) => [
		{ ...one, order: [0, 1] as const },
		{ ...one, order: [1, 0] as const },
	]);

describe("evaluate", () => {
	it("gives a judge that knows 100 %, one that leans 50 % and its leaning, from greedy decoding", async () => {
		const greedy = { temperature: 0, batchSize: 4 };
		const knows = await evaluate(generateCoT(both(10), fakeModel({ answer: rightAnswer }), greedy));
		expect(knows).toMatchObject({ n: 20, accuracy: 1, parseRate: 1, saysImage1: 0.5 });
		const seeds = new Set<number>();
		const answer = (_: unknown, seed: number) => {
			seeds.add(seed);
			return judgement(1);
		};
		const leans = await evaluate(generateCoT(both(10), fakeModel({ answer }), greedy));
		expect(leans).toMatchObject({
			accuracy: 0.5,
			saysImage1: 1,
			perOrder: { preferredFirst: { total: 10, accuracy: { value: 1 } }, preferredSecond: { total: 10, accuracy: { value: 0 } } },
		});
		expect(leans.ci).toEqual(proportion(10, 20).interval);
		expect([...seeds]).toEqual([0]);
	});

	it("counts what can't be parsed as not right, and leaves out what could not be shown", async () => {
		const lost = record(3, { images: ["/lost.png", WORSE] });
		const model = fakeModel({
			answer: (conversation) => (JSON.stringify(conversation).includes("caption 0") ? "?" : rightAnswer(conversation)),
		});
		const result = await evaluate(generateCoT([...records(3), lost], model, { temperature: 0 }));
		expect(result).toMatchObject({ n: 4, accuracy: 2 / 3, parseRate: 2 / 3, outcomes: { accepted: 2, unparsable: 1, "bad-image": 1 } });
	});

	it("refuses several samples of a record, and nothing at all", async () => {
		await expect(evaluate([rollout(0, judgement(1), { sampleIndex: 1 })])).rejects.toThrow(/expected one rollout per record, got sample 1/);
		await expect(evaluate([])).rejects.toThrow(/expected at least one generated rollout, got 0 rollouts/);
	});
});

describe("Wilson's interval", () => {
	it.each([
		[0, 10, 0, 0.2775], // the roots q of (x/n − q)² = 1.96² q(1 − q)/n, solved apart from the code
		[5, 10, 0.2366, 0.7634],
		[10, 10, 0.7225, 1],
		[81, 100, 0.7222, 0.8749],
	])("of %i of %i is %f to %f", (count, of, low, high) => {
		const { interval } = proportion(count, of);
		expect(interval[0]).toBeCloseTo(low, 4);
		expect(interval[1]).toBeCloseTo(high, 4);
	});
});
