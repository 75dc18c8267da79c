import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJudgement } from "../../src/reward/parse-judgement.js";

const think = "<think>a cat</think>";

describe("parseJudgement", () => {
	it.each([
		[`${think}<answer>Image 1 is better</answer>`, 1],
		[` \n${think}\n\n<answer>\nImage 2 is better.\n</answer>\n`, 2],
		[`${think}<answer>IMAGE 2  IS better</answer>`, 2],
		[`${think}<answer>Tie</answer>`, "tie"],
		[`${think}<answer>Both images are equally good</answer>`, "tie"],
		[`${think}<answer>Image 1 and image 2 are equal.</answer>`, "tie"],
		[`${think}<answer>Neither image is better</answer>`, "tie"],
	])("reads %j", (completion, winner) => {
		expect(parseJudgement(completion)).toMatchObject({ ok: true, winner, reasoning: "a cat" });
	});

	it.each([
		["", /one <think>, got none/],
		["<answer>Image 1 is better</answer>", /one <think>, got none/],
		[`${think}Image 1 is better`, /one <answer>, got none/],
		[`${think}<answer>Image 1 is better`, /one <\/answer>, got none/],
		[`${think}${think}<answer>Image 1 is better</answer>`, /one <think>, got 2/],
		[`${think}<answer>Image 1 is better</answer><answer>Image 2 is better</answer>`, /one <answer>, got 2/],
		["<think><answer>Image 1 is better</answer> said he</think><answer>Image 2 is better</answer>", /one <answer>, got 2/],
		[`<answer>Image 1 is better</answer>${think}`, /in this order/],
		["<think>so <answer>Image 1 is better</answer></think>", /in this order/],
		["</think>a<think><answer>Image 1 is better</answer>", /in this order/],
		[`Sure! ${think}<answer>Image 1 is better</answer>`, /nothing outside the blocks, got "Sure!"/],
		[`${think} so <answer>Image 1 is better</answer>`, /nothing outside the blocks, got "so"/],
		[`${think}<answer>Image 1 is better</answer> bye`, /nothing outside the blocks, got "bye"/],
		["<think> \n </think><answer>Image 1 is better</answer>", /reasoning inside <think>, got none/],
		[`${think}<answer>Image 3 is better</answer>`, /inside <answer>, got "Image 3 is better"/],
		[`${think}<answer>Image 1</answer>`, /inside <answer>/],
		[`${think}<answer>Image 1 is not better</answer>`, /inside <answer>/],
		[`${think}<answer>Image 1 is better and Image 2 is better</answer>`, /inside <answer>/],
		[`${think}<answer></answer>`, /inside <answer>, got ""/],
		["<Think>a</Think><answer>Image 1 is better</answer>", /one <think>, got none/],
	])("refuses %j", (completion, reason) => {
		expect(parseJudgement(completion)).toMatchObject({ ok: false, reason: expect.stringMatching(reason) });
	});

	it("without reasoning takes the answer alone, and nothing else", () => {
		expect(parseJudgement("<answer>Image 2 is better</answer>", { useCot: false })).toEqual({
			ok: true,
			winner: 2,
			answerText: "Image 2 is better",
		});
		expect(parseJudgement(`${think}<answer>Image 2 is better</answer>`, { useCot: false })).toMatchObject({
			ok: false,
			reason: /no reasoning/,
		});
		expect(parseJudgement("so <answer>Image 2 is better</answer>", { useCot: false })).toMatchObject({ ok: false });
	});

	it("keeps reasoning as it was, whatever is in it but the tags, and never throws", () => {
		fc.assert(
			fc.property(fc.string(), fc.string(), (reasoning, anything) => {
				fc.pre(reasoning.trim() !== "" && !/<\/?(think|answer)>/.test(reasoning));
				const parsed = parseJudgement(`<think>${reasoning}</think>\n<answer>Image 1 is better</answer>`);
				expect(parsed).toMatchObject({ ok: true, winner: 1, reasoning: reasoning.trim() });
				expect(parseJudgement(anything).ok).toBe(false);
			}),
		);
	});
});
