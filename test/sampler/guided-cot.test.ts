/** Scores, budgets and constrained answers through the sampler: what rollouts carry, what the journal keeps, and what a reward gets. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { correctAnswer } from "../../src/reward/correct-answer.js";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { unforced } from "../../src/reward/filters/text.js";
import { cotConfiguration, type GenerateCotOptions, generateCoT } from "../../src/sampler/generate-cot.js";
import { openJournal } from "../../src/sampler/journal.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { scorePair, scorePairs } from "../../src/sampler/score-pair.js";
import { answerProbabilities } from "../../src/sampler/verdict-score.js";
import { fakeModel } from "../../src/testing.js";
import { BETTER, judgement, records, rightAnswer, shownIn, WORSE } from "./records.js";

let folder: string;
beforeEach(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-guided-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Finds the better image three times as likely as the other, and "Image 1" twice as likely as "Image 2" besides. */
const leaning = (conversation: Parameters<typeof shownIn>[0]) => {
	const first = (shownIn(conversation)[0] === BETTER ? 3 : 1) * 2;
	const second = shownIn(conversation)[0] === BETTER ? 1 : 3;
	return [Math.log(first / 10), Math.log(second / 10)];
};
const judge = () => fakeModel({ answer: rightAnswer, answerLogProbs: leaning });

async function collect(options: GenerateCotOptions, model = judge(), count = 6): Promise<Rollout[]> {
	const rollouts: Rollout[] = [];
	for await (const rollout of generateCoT(records(count), model, options)) rollouts.push(rollout);
	return rollouts;
}

describe("score", () => {
	it("says how likely both answers are, as shown and by preference", async () => {
		const rollouts = await collect({ score: true });
		expect(rollouts).toHaveLength(6);
		for (const { record, score } of rollouts) {
			const shownFirst = correctAnswer(record) === 1;
			expect(score).toEqual(shownFirst ? { image1: 0.8571, preferred: 0.8571, mass: 0.7 } : { image1: 0.4, preferred: 0.6, mass: 0.5 });
		}
		expect((await collect({})).some((rollout) => "score" in rollout || "forced" in rollout)).toBe(false);
	});

	it("does not depend on the batch, and is absent where there is no answer", async () => {
		expect(await collect({ score: true, batchSize: 1 })).toEqual(await collect({ score: true, batchSize: 5 }));
		const silent = await collect({ score: true }, fakeModel({ answer: () => "<think>Hm." }));
		expect(silent.every((rollout) => !("score" in rollout))).toBe(true);
	});

	it("from log-probabilities: normalised over both, however small", () => {
		expect(answerProbabilities([-1000, -1000 - Math.log(3)])).toEqual({ image1: expect.closeTo(0.75, 10) as number, mass: 0 });
		expect(answerProbabilities([Math.log(0.2), Number.NEGATIVE_INFINITY])).toEqual({ image1: 1, mass: expect.closeTo(0.2, 10) as number });
		expect(() => answerProbabilities([0])).toThrow(/expected one per answer \(2\), got 1/);
	});
});

describe("a thinking budget", () => {
	const long = fakeModel({ answer: () => judgement(2, "They differ in this and that and in this and that and in this and that.") });

	it("makes long reasoning end and answer, and marks it", async () => {
		const [forced] = await collect({ thinkingBudget: 8 }, long, 1);
		expect(forced).toMatchObject({ forced: true, finishReason: "stop" });
		expect(forced.completion).toBe("<think>They differ in this </think>\n<answer>Image 2 is better</answer>");
		const [free] = await collect({ thinkingBudget: 100 }, long, 1);
		expect(free.forced).toBeUndefined();
	});

	it("is kept or not, as asked, and counted", async () => {
		const rollouts = await collect({ thinkingBudget: 8 }, long, 4);
		const filtered = filterRollouts(rollouts, [unforced()]);
		for await (const kept of filtered) expect.unreachable(kept.completion);
		expect(filtered.report).toMatchObject({ kept: 0, rejected: { forced: 4 }, judgements: { forced: 4 } });
	});

	it.each<[GenerateCotOptions, RegExp]>([
		[{ thinkingBudget: 2048 }, /thinkingBudget: expected a whole number from 1, less than maxNewTokens \(2048\), got 2048/],
		[{ thinkingBudget: 0 }, /got 0/],
		[{ thinkingBudget: 8, useCot: false }, /thinkingBudget: expected none without reasoning/],
		[{ repetitionDetection: { maxPatternSize: 4, minCount: 1 } }, /repetitionDetection: expected whole numbers.*minCount ≥ 2/],
		[{ repetitionDetection: { maxPatternSize: 4, minPatternSize: 5, minCount: 2 } }, /minPatternSize ≤ maxPatternSize/],
	])("%j is refused", (options, message) => {
		expect(() => generateCoT(records(1), judge(), options)).toThrow(message);
	});
});

describe("constrained answers and repetition", () => {
	it("leave no other answer", async () => {
		const vague = fakeModel({ answer: () => "<think>Hm.</think>\n<answer>Both are fine</answer>" });
		const [free] = await collect({}, vague, 1);
		const [bound] = await collect({ constrainAnswers: true }, vague, 1);
		expect(free.completion).toContain("Both are fine");
		expect(bound.completion).toBe("<think>Hm.</think>\n<answer>Image 1 is better</answer>");
	});

	it("end what goes round in circles", async () => {
		const circling = fakeModel({ answer: () => `<think>${"and so on ".repeat(100)}` });
		const [ended] = await collect({ repetitionDetection: { maxPatternSize: 8, minCount: 4 } }, circling, 1);
		expect(ended.finishReason).toBe("repetition");
		expect(ended.numTokens).toBeLessThan(32);
	});
});

describe("the journal", () => {
	const options: GenerateCotOptions = { score: true, thinkingBudget: 2, constrainAnswers: true };
	const identity = { model: { name: "fake" }, processor: { name: "fake" } };

	it("keeps score and mark: a continued run gives the same, and draws nothing", async () => {
		const file = join(folder, "journal.jsonl");
		const configuration = cotConfiguration(identity, options);
		const whole = await collect(options);
		const drawn = async (model = judge()) => {
			await using journal = await openJournal(file, { configuration });
			return await collect({ ...options, journal }, model);
		};
		expect(await drawn()).toEqual(whole);
		const bytes = await readFile(file);
		const never = fakeModel({
			answer: () => {
				throw new Error("nothing is to be drawn");
			},
		});
		expect(await drawn(never)).toEqual(whole);
		expect(await readFile(file)).toEqual(bytes);
		expect(whole.every(({ forced, score }) => forced && score)).toBe(true);
		expect(bytes.toString()).toContain('"forced":true,"score":{"image1":');
	});

	it("is of its sampling options: each is in its configuration, and none that is off", async () => {
		const plain = cotConfiguration(identity);
		expect(cotConfiguration(identity, { score: false, constrainAnswers: false })).toEqual(plain);
		const changed: GenerateCotOptions[] = [
			{ score: true },
			{ constrainAnswers: true },
			{ thinkingBudget: 9 },
			{ repetitionDetection: { maxPatternSize: 4, minCount: 3 } },
		];
		for (const one of changed) expect(cotConfiguration(identity, one).sampling).not.toEqual(plain.sampling);
		const file = join(folder, "journal.jsonl");
		await using journal = await openJournal(file, { configuration: plain });
		expect(() => generateCoT(records(1), judge(), { score: true, journal })).toThrow(/sampling.score: nothing in the journal, true now/);
	});
});

describe("scorePair", () => {
	const pair = { prompt: "two red circles", images: [BETTER, WORSE] as const };

	it("averages both orders, so that swapped images swap the result whatever the leaning", async () => {
		const score = await scorePair(judge(), pair);
		// Shown first: 6 to 1; shown second, it is 3 to 2.
		expect(score.orders.map(({ image1 }) => image1)).toEqual([expect.closeTo(6 / 7, 10), expect.closeTo(2 / 5, 10)]);
		expect(score.probabilities[0]).toBeCloseTo((6 / 7 + 3 / 5) / 2, 10);
		expect(score.probabilities[0] + score.probabilities[1]).toBeCloseTo(1, 12);
		const swapped = await scorePair(judge(), { ...pair, images: [WORSE, BETTER] });
		expect(swapped.probabilities[0]).toBeCloseTo(score.probabilities[1], 10);
		expect(swapped.probabilities[1]).toBeCloseTo(score.probabilities[0], 10);
	});

	it("in the stored order alone has the leaning", async () => {
		const score = await scorePair(judge(), pair, { orders: "stored" });
		expect(score.orders).toHaveLength(1);
		expect(score.probabilities[0]).toBeCloseTo(6 / 7, 10);
	});

	it("with reasoning says what was said", async () => {
		const score = await scorePair(judge(), pair, { useCot: true });
		expect(score.orders.map(({ completion }) => completion)).toEqual([judgement(1), judgement(2)]);
		expect((await scorePair(judge(), pair)).orders[0].completion).toBeUndefined();
	});

	it("of many pairs: in their order, each as alone", async () => {
		const pairs = Array.from({ length: 7 }, (_, i) => ({
			prompt: `caption ${i}`,
			images: i % 2 ? ([WORSE, BETTER] as const) : pair.images,
		}));
		const together = [];
		for await (const score of scorePairs(judge(), pairs, { batchSize: 3 })) together.push(score);
		expect(together).toEqual(await Promise.all(pairs.map((one) => scorePair(judge(), one))));
	});

	it("says what is wrong: no answer to score, no image, a signal", async () => {
		const silent = fakeModel({ answer: () => "I can't tell." });
		await expect(scorePair(silent, pair, { useCot: true })).rejects.toThrow(/expected an answer to score, got .*I can't tell/);
		await expect(scorePair(judge(), { ...pair, images: [BETTER, join(folder, "lost.png")] })).rejects.toThrow(/lost.png/);
		await expect(scorePair(judge(), pair, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
		await expect(scorePair(judge(), pair, { promptTemplate: "Which?" })).rejects.toThrow(/\{prompt\}/);
	});
});
