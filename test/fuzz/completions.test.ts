/** What a judge may say: parseJudgement, judgeRollout, readScores and the filters on text, on completions drawn at random. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { correct, wellFormed } from "../../src/reward/filters/answer.js";
import { readScores } from "../../src/reward/filters/read-scores.js";
import { scoresAgree } from "../../src/reward/filters/scores-agree.js";
import { repetition } from "../../src/reward/filters/text.js";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import { OUTCOMES } from "../../src/reward/outcome.js";
import { parseJudgement } from "../../src/reward/parse-judgement.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { toConversation } from "../../src/trainer/to-conversation.js";
import { record } from "../sampler/records.js";
import { RUNS, TIMEOUT, timed } from "./fuzz.js";

const TAGS = ["<think>", "</think>", "<answer>", "</answer>"];
const ANSWERS = ["Image 1 is better", "Image 2 is better", "image 2 is  better.", "Both are equal", "a tie", "Image 3 is better"];
const SCORES = [
	"Total:",
	"total score ",
	"Image 1: 7, Image 2: 4",
	"Image 1 (9/10)",
	"9+8+8=25",
	"17-13.",
	"totals 17-13",
	"1.5",
	"Image 2",
	"\n",
];
const piece = fc.oneof(
	fc.constantFrom(...TAGS, ...ANSWERS, ...SCORES, "<image>", "<|im_end|>", "</answer", "<<think>>", "\u2028", "\0", "\ud800"),
	fc.string({ unit: "binary" }),
	fc.nat().map(String),
);
const loose = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(""));
const formed = fc
	.tuple(loose, fc.constantFrom(...ANSWERS))
	.map(([reasoning, answer]) => `<think>${reasoning}</think><answer>${answer}</answer>`);
const score = fc.nat(30);
const lines = fc
	.array(
		fc.tuple(
			fc.string({ maxLength: 9 }),
			score,
			score,
			fc.constantFrom("Image 1: %, Image 2: %", "Image 1 (%/10) - x; Image 2 (%/10)", "%-%"),
		),
		{
			minLength: 1,
			maxLength: 4,
		},
	)
	.map((scores) => scores.map(([name, one, two, form]) => `${name} ${form.replace("%", `${one}`).replace("%", `${two}`)}`).join("\n"));
const scored = fc
	.tuple(
		lines,
		score,
		score,
		fc.constantFrom("Total: Image 1: %, Image 2: %", "Total score:\nImage 1: 1+2=%\nImage 2: 3+4=%", "totals %-%"),
		loose,
	)
	.map(([dimensions, one, two, form, more]) => `${dimensions}\n${form.replace("%", `${one}`).replace("%", `${two}`)}${more}`);
const completion = fc.oneof(loose, formed, scored);

const rolloutOf = (said: string, i: number, finishReason: Rollout["finishReason"] = "stop"): Rollout => ({
	...{ record: record(i), sampleIndex: 0, seed: i, promptText: "**Image 1:** <image>\n**Image 2:** <image>\nq", completion: said },
	...{ numTokens: said.length, finishReason },
});

it(
	"each completion has one outcome, and a reading that its text bears out",
	async () => {
		const seen: Record<string, number> = {};
		await fc.assert(
			fc.asyncProperty(
				completion,
				fc.boolean(),
				fc.constantFrom("stop" as const, "length" as const),
				async (said, useCot, finishReason) => {
					const judged = await timed(() => judgeRollout(rolloutOf(said, 0, finishReason), { useCot }));
					seen[judged.outcome] = (seen[judged.outcome] ?? 0) + 1;
					expect(OUTCOMES).toContain(judged.outcome);
					expect(judged.completion).toBe(said);
					const parsed = parseJudgement(said, { useCot });
					if (!parsed.ok) {
						expect(["unparsable", "truncated"]).toContain(judged.outcome);
						expect(parsed.reason.length).toBeGreaterThan(0);
						return;
					}
					expect(said).toContain(parsed.answerText);
					expect(said.replace(/\s/g, "")).toBe(
						`${useCot ? `<think>${parsed.reasoning}</think>` : ""}<answer>${parsed.answerText}</answer>`.replace(/\s/g, ""),
					);
					if (judged.outcome !== "accepted") return;
					const { conversations, images } = toConversation(judged);
					expect(conversations.map(({ value }) => value.split("<image>").length - 1)).toEqual([images.length, 0]);
					expect(parseJudgement(conversations[1].value, { useCot })).toMatchObject({ ok: true, winner: parsed.winner });
				},
			),
			{ numRuns: RUNS },
		);
		expect(Object.keys(seen).sort()).toEqual(["accepted", "tie", "truncated", "unparsable", "wrong"]);
	},
	TIMEOUT,
);

it(
	"scores are read as finite numbers, as many for each image, or it is said what is missing",
	async () => {
		let [read, refused] = [0, 0];
		await fc.assert(
			fc.asyncProperty(completion, async (said) => {
				const scores = await timed(() => readScores(said));
				if (!scores.ok) {
					expect(scores.reason).toMatch(/^expected /);
					refused++;
					return;
				}
				const { dimensions, totals, addends } = scores;
				expect(dimensions[0].length).toBe(dimensions[1].length);
				const all = [...dimensions.flat(), ...totals, ...addends.flatMap((sum) => sum ?? [])];
				expect(all.filter((score) => !Number.isFinite(score))).toEqual([]);
				read++;
			}),
			{ numRuns: RUNS },
		);
		expect(Math.min(read, refused)).toBeGreaterThan(RUNS / 200);
	},
	TIMEOUT,
);

it(
	"filters keep or turn away every one, each once",
	async () => {
		await fc.assert(
			fc.asyncProperty(fc.array(completion, { minLength: 20, maxLength: 20 }), async (texts) => {
				const all = texts.map((said, i) => rolloutOf(said, i));
				const rejected: string[] = [];
				const filters = [wellFormed(), correct(), scoresAgree(), repetition({ max: 0.5 })];
				const kept = filterRollouts(all, filters, {
					onRejected: ({ rejectedBy }) => rejected.push(rejectedBy ?? "nobody") as unknown as undefined,
				});
				let count = 0;
				for await (const _ of kept) count++;
				const { report } = kept;
				expect([report.total, report.kept, report.kept + rejected.length]).toEqual([texts.length, count, texts.length]);
				expect(Object.values(report.rejected).reduce((sum, n) => sum + n, 0)).toBe(rejected.length);
				expect(Object.values(report.judgements.outcomes).reduce((sum, n) => sum + n, 0)).toBe(texts.length);
			}),
			{ numRuns: Math.ceil(RUNS / 20) },
		);
	},
	TIMEOUT,
);

it.each([
	"<think>",
	"total ",
	"image 1",
	"Image 1: 1+",
	"Image 1 (1",
	"1",
	"1.",
	"1+",
	"1-",
	" ",
	"\n",
	"totals 1",
	"total Image 1: 3 ",
	"image 1 1+1 ",
	"*",
	"<|im_end|>",
	"a tie ",
])(
	"200,000 characters of %j take no longer than others",
	async (part) => {
		const many = part.repeat(Math.ceil(200_000 / part.length));
		for (const text of [
			...[many, `<think>${many}</think><answer>Image 1 is better</answer>`, `<think>x</think><answer>${many}</answer>`, `Total: ${many}`],
			...[`${many}\nTotal: Image 1: 3, Image 2: 4`, `${many} totals 17-13`, `Total: Image 1: 3 ${many} Image 2: 4`],
			...[`image 1${many}total`, `image 1${many}\nTotal: Image 1: 3, Image 2: 4`],
		]) {
			await timed(() => {
				readScores(text);
				return judgeRollout(rolloutOf(text, 0));
			});
		}
	},
	TIMEOUT,
);
