/**
 * OmniReward-Bench, text to image: two responses and which one is better *by a criterion* in words, which the judge is told. The same pair
 * may come again with another criterion and another preference. Images are in `media_data`, beside the folder of the data file.
 * Format: https://huggingface.co/datasets/HongbangYuan/OmniRewardBench, LightRFT's `omnirewardbench.py` (which takes any other preference for a tie;
 * here it is a bad row)
 */
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { bySchema, eachRow, given, imageReference, nonEmpty, type PairContent, TIE } from "./pair-source.js";

const PREFERRED = { response1: 0, response2: 1, tie: TIE } as const;

const omniRow = z
	.object({
		prompt: nonEmpty,
		response1_path: imageReference,
		response2_path: imageReference,
		criteria: z.string().nullish(),
		criteria_preference: z.enum(["response1", "response2", "tie"]),
		model1: z.string().nullish(),
		model2: z.string().nullish(),
	})
	.transform(({ prompt, response1_path, response2_path, criteria, criteria_preference, model1, model2 }): (PairContent | typeof TIE)[] => {
		const preferred = PREFERRED[criteria_preference];
		if (preferred === TIE) return [TIE];
		const images = [response1_path, response2_path] as const;
		const imageFields = ["response1_path", "response2_path"] as const;
		return [{ prompt, images, imageFields, preferred, ...given({ criteria: criteria || undefined, model1, model2 }) }];
	});

export const omniRewardBench = eachRow(bySchema(omniRow), (file) => join(dirname(dirname(resolve(file))), "media_data"));
