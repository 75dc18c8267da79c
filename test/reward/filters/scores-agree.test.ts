import { describe, expect, it } from "vitest";
import { writeJudgement } from "../../../examples/data-generator/reasoning.js";
import { readScores } from "../../../src/reward/filters/read-scores.js";
import { scoresAgree } from "../../../src/reward/filters/scores-agree.js";
import { parseJudgement } from "../../../src/reward/parse-judgement.js";
import { DEFAULT_COT_PROMPT } from "../../../src/sampler/prompt.js";
import { judgement, record } from "../../sampler/records.js";
import { rollout } from "../rollouts.js";
import { sift } from "./sift.js";

/** As the task instruction of UnifiedReward-Think and LightRFT asks for it. */
const UNIFIED = `Semantic consistency: Image 1 (9/10) - all 3 dogs are there; Image 2 (7/10) - 1 dog is missing.
Aesthetics: Image 2 (8/10) - fine light; Image 1 (8/10) - the same, in total harmony.
Authenticity: Image 1 (8/10) - clean; Image 2 (5/10) - odd paws.
Composition: Image 2 (8/10) - good; Image 1 (6/10) - crowded.
Total score:
Image 1: 9+8+8+6=31
Image 2: 7+8+5+8=28`;
const OWN = `Semantic consistency: Image 1: 2 circles as asked, Image 2: 1 circle only. Image 1: 7, Image 2: 4
Aesthetics: both fine. Image 1: 6, Image 2: 6
Authenticity: clean. Image 1: 8, Image 2: 5
Total: Image 1: 21, Image 2: 15`;
const DEMO = `Image 1: clean, two blue triangles, left.
Image 2: clean, two red triangles, left.
Check 1: two two=, blue blue=, triangle triangle=, left left=.
Check 2: two two=, blue red!, triangle triangle=, left left=.
Scores: semantic consistency 9-5, aesthetics 8-8, authenticity 8-8, totals 25-21.`;

describe("readScores", () => {
	it.each([
		[
			"UnifiedReward-Think's",
			UNIFIED,
			[
				[9, 8, 8, 6],
				[7, 8, 5, 8],
			],
			[31, 28],
		],
		[
			"the built-in question's",
			OWN,
			[
				[7, 6, 8],
				[4, 6, 5],
			],
			[21, 15],
		],
		[
			"the bundled judge's",
			DEMO,
			[
				[9, 8, 8],
				[5, 8, 8],
			],
			[25, 21],
		],
		["a bold", "**Taste:** **Image 1:** 7.5, **Image 2:** 7\n**Total:** **Image 1:** 7.5, **Image 2:** 7", [[7.5], [7]], [7.5, 7]],
		[
			"a numbered, multi-line",
			"1. Taste:\n  Image 1 (8/10) - a;\n  Image 2 (7/10) - b\nTotal score:\nImage 1: 8\nImage 2: 7",
			[[8], [7]],
			[8, 7],
		],
		[
			"one with totals out of something",
			"Taste: Image 1 (8/10); Image 2 (7/10)\nTotal score:\nImage 1: 8/10\nImage 2: 7/10",
			[[8], [7]],
			[8, 7],
		],
	])("reads %s form", (_, text, dimensions, totals) => {
		expect(readScores(text)).toMatchObject({ ok: true, dimensions, totals });
	});

	it("reads what the built-in question shows as its form", () => {
		const form = parseJudgement(DEFAULT_COT_PROMPT.slice(DEFAULT_COT_PROMPT.lastIndexOf("<think>")));
		expect(form.ok && readScores(form.reasoning ?? "")).toMatchObject({ ok: true, totals: [21, 15] });
	});

	it.each([
		["They differ.", "expected a total for each image, got none"],
		["Total: Image 1: 3", "expected a total for each image, got none"],
		["Taste: Image 1: 3\nTotal: Image 1: 3, Image 2: 2", "expected as many scores for Image 1 as for Image 2, got 1 and 0"],
		["totals 3-2", "expected as many scores for Image 1 as for Image 2, got 0 and 0"],
	])("says what %j lacks", (text, reason) => expect(readScores(text)).toEqual({ ok: false, reason }));
});

describe("scoresAgree", () => {
	it.each([
		[UNIFIED, 1, undefined],
		[UNIFIED, 2, "Image 1 has the higher total, 31, but is not the answer"],
		[UNIFIED.replace("=31", "=32"), 1, "Image 1: 9+8+8+6 is 31, not 32"],
		[UNIFIED.replace("7+8+5+8", "7+8+6+7"), 1, undefined],
		[UNIFIED.replace("7+8+5+8", "7+8+5+9"), 1, "Image 2: 7+8+5+9 is 29, not 28"],
		[OWN, 1, undefined],
		[OWN.replace("Image 2: 15", "Image 2: 16"), 1, "Image 2: 4+6+5 is 15, not 16"],
		[DEMO, 1, undefined],
		[DEMO.replace("5, aesthetics", "9, aesthetics").replace("-21", "-25"), 1, "both totals are 25, which is no reason for an answer"],
		["Taste: Image 1: 7.1, Image 2: 4\nSmell: Image 1: 8.2, Image 2: 4\nTotal: Image 1: 15.3, Image 2: 8", 1, undefined],
		["They differ.", 1, "expected a total for each image, got none"],
	] as const)("of %j and Image %i", async (reasoning, answer, expected) => {
		const { reasons } = await sift([rollout(0, judgement(answer, reasoning))], [scoresAgree()]);
		const wrongAnswer = /^image \d is preferred/;
		expect(reasons.map((reason) => (reason && wrongAnswer.test(reason) ? undefined : reason))).toEqual([expected]);
	});

	it("turns away what has no reasoning", async () => {
		const { reasons } = await sift([rollout(0, "so")], [scoresAgree()]);
		expect(reasons).toEqual(["expected one <think>, got none"]);
		const brief = rollout(0, "<answer>Image 1 is better</answer>", { record: record(2) });
		expect((await sift([brief], [scoresAgree()], { useCot: false })).reasons).toEqual(["no reasoning, outcome accepted"]);
	});

	it("holds for every judgement that the bundled judge's teacher writes, unless it saw no difference", async () => {
		const scene = { count: "two", colour: "red", shape: "circle", place: "left" } as const;
		const asked = { kind: "scene", scene } as never;
		const look = (colour: string, quality = "clean") => ({ quality, subject: { kind: "scene", scene: { ...scene, colour } } }) as never;
		const texts = [writeJudgement(asked, look("red"), look("blue")), writeJudgement(asked, look("red", "noisy"), look("red"))];
		const { report } = await sift(
			texts.map((text, row) => rollout(row, text)),
			[scoresAgree()],
		);
		expect(report.rejected).toEqual({ "scores-agree": 0 });
	});
});
