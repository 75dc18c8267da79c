/**
 * Two data sets go by the name GenAI-Bench; which one a row is of shows in its fields.
 *
 * - `HumanRatings`, as LightRFT's `genai_bench.py` reads it: each generator's image in a column of its name, rated by people. Any two
 *   generators are a pair; the higher mean is preferred. Format: https://huggingface.co/datasets/BaiqiL/GenAI-Bench-1600
 * - `vote_type`, as UnifiedReward's `test_qwen25_cot_genAI_bench_image.py` reads it: a left and a right image and a vote;
 *   what has "tie" or "both" in it is a tie. Format: https://huggingface.co/datasets/TIGER-Lab/GenAI-Bench
 */
import { z } from "zod";
import { checkRow } from "../../files/check-row.js";
import { eachRow, given, type ImageReference, imageReference, nonEmpty, type PairContent, TIE } from "./pair-source.js";

type Pairs = (PairContent | typeof TIE)[];

const votedRow = z
	.object({
		prompt: nonEmpty,
		left_image: imageReference,
		right_image: imageReference,
		vote_type: z.string().regex(/left|right|tie|both/, "a vote with left, right, tie or both in it"),
		left_model: z.string().nullish(),
		right_model: z.string().nullish(),
	})
	.transform(({ prompt, left_image, right_image, vote_type, left_model: model1, right_model: model2 }): Pairs => {
		if (/tie|both/.test(vote_type)) return [TIE];
		const preferred = vote_type.includes("left") ? 0 : 1;
		const imageFields = ["left_image", "right_image"] as const;
		return [{ prompt, images: [left_image, right_image], imageFields, preferred, ...given({ model1, model2 }) }];
	});

const ratedRow = z
	.looseObject({ Prompt: nonEmpty, HumanRatings: z.record(z.string(), z.array(z.number()).min(1).nullable()) })
	.transform((row, context): Pairs => {
		const rated: { model: string; image: ImageReference; mean: number }[] = [];
		for (const [model, ratings] of Object.entries(row.HumanRatings)) {
			if (!ratings || row[model] == null) continue;
			const image = imageReference.safeParse(row[model]);
			if (!image.success) {
				context.addIssue({ code: "custom", path: [model], message: image.error.issues[0].message });
				return z.NEVER;
			}
			rated.push({ model, image: image.data, mean: ratings.reduce((sum, rating) => sum + rating, 0) / ratings.length });
		}
		if (rated.length < 2) {
			context.addIssue({ code: "custom", path: ["HumanRatings"], message: "two generators at least, with ratings and an image" });
			return z.NEVER;
		}
		return rated.flatMap((first, i) =>
			rated.slice(i + 1).map((second): PairContent | typeof TIE => {
				if (first.mean === second.mean) return TIE;
				const [images, models] = [[first.image, second.image] as const, [first.model, second.model] as const];
				const preferred = first.mean > second.mean ? 0 : 1;
				return { prompt: row.Prompt, images, imageFields: models, preferred, model1: models[0], model2: models[1] };
			}),
		);
	});

const hasRatings = (value: unknown) => typeof value === "object" && value !== null && "HumanRatings" in value;

export const genaiBench = eachRow((value) => (hasRatings(value) ? checkRow(ratedRow, value) : checkRow(votedRow, value)));
