import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { correctAnswer } from "../../src/reward/correct-answer.js";
import { formatStats } from "../../src/reward/judgement-stats.js";
import { type JudgedRollout, OUTCOMES, type Outcome } from "../../src/reward/outcome.js";
import { type RejectFilteredOptions, rejectFiltered } from "../../src/reward/reject-filtered.js";
import { accuracyReward, formatReward } from "../../src/reward/rewards.js";
import { generateCoT } from "../../src/sampler/generate-cot.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { fakeModel } from "../../src/testing.js";
import { BETTER, judgement, record, records, rightAnswer, WORSE } from "../sampler/records.js";
import { rollout } from "./rollouts.js";

async function filter(rollouts: Iterable<Rollout> | AsyncIterable<Rollout>, options: RejectFilteredOptions = {}) {
	const rejected: JudgedRollout[] = [];
	const filtered = rejectFiltered(rollouts, { ...options, onRejected: (judged) => void rejected.push(judged) });
	const accepted: JudgedRollout[] = [];
	for await (const judged of filtered) accepted.push(judged);
	return { accepted, rejected, stats: filtered.stats };
}

const wrongWay = (row: number) => judgement(correctAnswer(record(row)) === 1 ? 2 : 1);
const rightWay = (row: number) => judgement(correctAnswer(record(row)));

describe("the shown order", () => {
	it.each([
		[0, [0, 1], 1],
		[0, [1, 0], 2],
		[1, [0, 1], 2],
		[1, [1, 0], 1],
	] as const)("with image %i preferred and %j shown, image %i is the right answer", async (preferred, order, right) => {
		const images: [string, string] = preferred === 0 ? [BETTER, WORSE] : [WORSE, BETTER];
		const one = record(0, { preferred, order: order[0] === 0 ? [0, 1] : [1, 0], images });
		expect(correctAnswer(one)).toBe(right);
		const { accepted, rejected } = await filter([
			rollout(0, judgement(1), { record: one }),
			rollout(0, judgement(2), { record: one, sampleIndex: 1 }),
		]);
		expect([accepted[0].answer, accepted[0].outcome]).toEqual([right, "accepted"]);
		expect([rejected[0].answer, rejected[0].outcome]).toEqual([3 - right, "wrong"]);
	});

	it("holds from records to answers: a judge that knows the better image is always accepted, one that says 1 as often as it is shown first", async () => {
		const all = records(12);
		const knows = await filter(generateCoT(all, fakeModel({ answer: rightAnswer })));
		expect(knows.stats).toMatchObject({ total: 12, accepted: 12 });
		const leans = await filter(generateCoT(all, fakeModel({ answer: () => judgement(1) })));
		expect(leans.stats.accepted).toBe(all.filter((one) => one.images[one.order[0]] === BETTER).length);
		expect(leans.stats.saysImage1.value).toBe(1);
		expect(leans.stats.preferredShown.first.accuracy.value).toBe(1);
		expect(leans.stats.preferredShown.second.accuracy.value).toBe(0);
	});
});

describe("outcomes", () => {
	const cases: Record<Outcome, Rollout> = {
		accepted: rollout(1, rightWay(1)),
		wrong: rollout(2, wrongWay(2)),
		unparsable: rollout(3, "Image 1 is better"),
		truncated: rollout(4, "<think>it goes on", { finishReason: "length" }),
		repetition: rollout(9, "<think>on and on and on and on", { finishReason: "repetition" }),
		tie: rollout(5, "<think>same</think><answer>Both images are equally good</answer>"),
		"bad-image": rollout(6, "", { finishReason: "error", numTokens: 0, error: { kind: "bad-image", message: "lost.png: no such file" } }),
		error: rollout(7, "", { finishReason: "error", numTokens: 0, error: { kind: "error", message: "no such token" } }),
		"low-reward": rollout(8, rightWay(8)),
	};
	const onlyRow8IsPoor = (_: string, { source }: { source: { row: number } }) => (source.row === 8 ? 0 : 1);

	it("each rollout gets its one", async () => {
		const { accepted, rejected, stats } = await filter(Object.values(cases), { rewards: [onlyRow8IsPoor] });
		expect([...accepted, ...rejected].map(({ record: { source }, outcome }) => [source.row, outcome])).toEqual(
			OUTCOMES.map((outcome) => [cases[outcome].record.source.row, outcome]),
		);
		expect(stats.outcomes).toEqual(Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 1])));
		expect(rejected.map(({ reason }) => reason)).toEqual([
			`image ${correctAnswer(record(2))} is preferred, as shown`,
			"expected one <think>, got none",
			"cut at 3 tokens, before its answer was complete",
			"repeats itself, stopped at 7 tokens, before its answer was complete",
			'no winner: "Both images are equally good"',
			"lost.png: no such file",
			"no such token",
			"reward 0 is below 1",
		]);
	});

	it("a text cut after its answer is complete is read; one cut in a wrong form is told by its form", async () => {
		const cut = { finishReason: "length" } as const;
		const { accepted, rejected } = await filter([rollout(1, rightWay(1), cut), rollout(1, `so ${rightWay(1)}`, cut)]);
		expect(accepted).toHaveLength(1);
		expect(rejected[0].outcome).toBe("unparsable");
	});

	it("keep reasoning and answer as generated, white space around them apart", async () => {
		const { accepted } = await filter([
			rollout(1, `<think>\n two\nlines </think>\n<answer> image ${correctAnswer(record(1))} is better. </answer>`),
		]);
		expect(accepted[0]).toMatchObject({ reasoning: "two\nlines", answerText: `image ${correctAnswer(record(1))} is better.` });
	});

	it("without reasoning", async () => {
		const answer = `<answer>Image ${correctAnswer(record(1))} is better</answer>`;
		const { accepted, rejected } = await filter([rollout(1, answer), rollout(1, rightWay(1))], { useCot: false });
		expect(accepted.map(({ completion }) => completion)).toEqual([answer]);
		expect("reasoning" in accepted[0]).toBe(false);
		expect(rejected[0].outcome).toBe("unparsable");
	});

	it("add up, whatever comes in", async () => {
		const anyCompletion = fc.oneof(
			fc.string(),
			fc.constantFrom(judgement(1), judgement(2), "<think>a</think><answer>tie</answer>", "<think>"),
		);
		const anyRollout = fc
			.record({ row: fc.nat(20), completion: anyCompletion, finishReason: fc.constantFrom("stop", "length", "error"), reward: fc.nat(2) })
			.map(({ row, completion, finishReason, reward }) => rollout(row, completion, { finishReason, sampleIndex: reward }));
		const rewards = [(_: string, one: { key: string }) => one.key.length % 2];
		await fc.assert(
			fc.asyncProperty(fc.array(anyRollout), async (rollouts) => {
				const { accepted, rejected, stats } = await filter(rollouts, { rewards });
				expect(accepted.length + rejected.length).toBe(rollouts.length);
				expect(stats.total).toBe(rollouts.length);
				expect(OUTCOMES.reduce((sum, outcome) => sum + stats.outcomes[outcome], 0)).toBe(rollouts.length);
				expect(stats.outcomes.accepted).toBe(accepted.length);
				expect(stats.correct).toBe(stats.outcomes.accepted + stats.outcomes["low-reward"]);
				expect(stats.accuracy.of).toBe(stats.correct + stats.outcomes.wrong);
				expect(stats.preferredShown.first.total + stats.preferredShown.second.total).toBe(rollouts.length);
				expect(stats.parseFailures).toBe(stats.outcomes.unparsable + stats.outcomes.truncated + stats.outcomes.repetition);
			}),
			{ numRuns: 50 },
		);
	});
});

describe("statistics", () => {
	it("say what they are shares of", async () => {
		const rows = [rollout(1, rightWay(1)), rollout(2, rightWay(2)), rollout(4, wrongWay(4)), rollout(5, "?"), rollout(0, "<think>")];
		rows[4].finishReason = "length";
		const lost = rollout(6, "", { finishReason: "error", numTokens: 0, error: { kind: "bad-image", message: "lost" } });
		const { stats } = await filter([...rows, lost]);
		expect(stats).toMatchObject({
			total: 6,
			accepted: 2,
			correct: 2,
			accuracy: { count: 2, of: 3 },
			accuracyOfAll: { count: 2, of: 6 },
			parseFailures: 2,
			parseRate: { count: 3, of: 5 },
			meanTokens: rows.reduce((sum, { numTokens }) => sum + numTokens, 0) / 5,
		});
		const text = formatStats(stats);
		expect(text.split("\n").slice(0, 8)).toEqual([
			"total: 6",
			"accepted: 2",
			"correct: 2",
			"accuracy, of those that named a winner: 66.7 % (20.8–93.9), 2 of 3", // the roots q of (2/3 − q)² = 1.96² q(1 − q)/3
			"accuracy, of all: 33.3 % (9.7–70.0), 2 of 6",
			"parse failures: 2",
			"parsed, of those generated: 60.0 % (23.1–88.2), 3 of 5",
			"outcome accepted: 2",
		]);
		expect(text).toMatch(/^says "Image 1", of those that named a winner: /m);
		expect(text).toMatch(/^accuracy, preferred image shown second \(\d\): /m);
		expect(text).toMatch(/^mean tokens: \d+\.\d\n$/m);
	});

	it("of nothing are nothing, not zero per cent", async () => {
		const { stats } = await filter([]);
		expect(stats.accuracy).toEqual({ count: 0, of: 0, value: Number.NaN, interval: [0, 1] });
		expect(formatStats(stats)).toContain("accuracy, of all: –, 0 of 0\n");
	});

	it("are there while the stream runs", async () => {
		const filtered = rejectFiltered([rollout(1, rightWay(1)), rollout(2, rightWay(2))]);
		const totals: number[] = [];
		for await (const _ of filtered) totals.push(filtered.stats.total);
		expect(totals).toEqual([1, 2]);
	});
});

describe("rewards", () => {
	const brief = (completion: string) => (completion.length < 80 ? 1 : 0);
	const long = `<think>${"well ".repeat(40)}</think><answer>Image ${correctAnswer(record(1))} is better</answer>`;

	it("are conditions beside the right answer: all of them by default, or a threshold", async () => {
		const rollouts = [rollout(1, rightWay(1)), rollout(1, long), rollout(1, wrongWay(1))];
		const strict = await filter(rollouts, { rewards: [formatReward, accuracyReward, brief] });
		expect(strict.accepted.map(({ reward }) => reward)).toEqual([3]);
		expect(strict.rejected.map(({ outcome }) => outcome)).toEqual(["low-reward", "wrong"]);
		const lax = await filter(rollouts, { rewards: [formatReward, accuracyReward, brief], threshold: 2 });
		expect(lax.accepted.map(({ reward }) => reward)).toEqual([3, 2]);
	});

	it("format and accuracy do what they say", () => {
		expect([rightWay(1), wrongWay(1), "<answer>tie</answer>", "Image 1 is better"].map((text) => formatReward(text, record(1)))).toEqual([
			1, 1, 1, 0,
		]);
		expect([rightWay(1), wrongWay(1), "<answer>tie</answer>", ""].map((text) => accuracyReward(text, record(1)))).toEqual([1, 0, 0, 0]);
	});

	it("that are not numbers stop the run, by name", async () => {
		const broken = () => Number.NaN;
		await expect(filter([rollout(1, rightWay(1))], { rewards: [broken] })).rejects.toThrow(
			"reward broken on record 1 of pairs.json: expected a finite number, got NaN",
		);
	});

	it("and onRejected is awaited", async () => {
		const log: string[] = [];
		const onRejected = async () => {
			await new Promise((done) => setTimeout(done, 5));
			log.push("written");
		};
		for await (const _ of rejectFiltered([rollout(1, wrongWay(1)), rollout(1, rightWay(1))], { onRejected })) log.push("accepted");
		expect(log).toEqual(["written", "accepted"]);
	});
});
