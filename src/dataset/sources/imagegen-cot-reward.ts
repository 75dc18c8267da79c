/**
 * ImageGen-CoT-Reward-5K, UnifiedReward's cold-start data: ShareGPT rows of a question, two images and a judgement. The caption is what
 * the question ends with, `Text Caption: [a red circle]`; the preferred image is the one that the last turn's `<answer>` names.
 * Format: https://huggingface.co/datasets/CodeGoat24/ImageGen-CoT-Reward-5K, LightRFT's `imagegen_cot_reward.py`
 */
import { z } from "zod";
import { bySchema, eachRow, imageReference, type PairContent, TIE } from "./pair-source.js";

const CAPTION = /Text Caption:\s*\[([\s\S]*\S[\s\S]*)\]/;
const ANSWER = /<answer>\s*([\s\S]*?)\s*<\/answer>\s*$/;
const VERDICTS: Readonly<Record<string, 0 | 1 | typeof TIE>> = {
	"Image 1 is better": 0,
	"Image 2 is better": 1,
	"Both images are equally good": TIE,
};

const turn = z.object({ value: z.string() });

const cotRow = z
	.object({
		conversations: z.array(turn).min(2),
		images: z.tuple([imageReference, imageReference], { error: "two images" }),
	})
	.transform(({ conversations, images }, context): (PairContent | typeof TIE)[] => {
		const missing = (path: (string | number)[], message: string) => {
			context.addIssue({ code: "custom", path: ["conversations", ...path], message });
			return z.NEVER;
		};
		const last = conversations.length - 1;
		const prompt = CAPTION.exec(conversations[0].value)?.[1].trim();
		if (prompt === undefined) return missing([0, "value"], 'a question with "Text Caption: [the caption]"');
		const answer = ANSWER.exec(conversations[last].value)?.[1] ?? "";
		if (!Object.hasOwn(VERDICTS, answer)) return missing([last, "value"], `an <answer> at the end: ${Object.keys(VERDICTS).join(", ")}`);
		const preferred = VERDICTS[answer];
		return [preferred === TIE ? TIE : { prompt, images, imageFields: ["images.0", "images.1"], preferred }];
	});

export const imagegenCotReward = eachRow(bySchema(cotRow));
