/**
 * Rapidata's pairs of images, in both of its forms:
 *
 * - for each image, weighted results of votes on preference, coherence and alignment. As in LightRFT's `rejection_sampling_inference_t2v.py` (which
 *   reads the same data of videos), the image with the higher sum is preferred, and a result that is missing counts 0.
 *   Format: https://huggingface.co/datasets/Rapidata/OpenAI-4o_t2i_human_preference
 * - `votes_image1` and `votes_image2`, on what the data set is named for; most votes win.
 *   Format: https://huggingface.co/datasets/Rapidata/700k_Human_Preference_Dataset_FLUX_SD3_MJ_DALLE3
 *
 * Equal numbers are ties.
 */
import { z } from "zod";
import { bySchema, eachRow, given, imageReference, nonEmpty, type PairContent, TIE } from "./pair-source.js";

const METRICS = ["preference", "coherence", "alignment"] as const;
const field = (image: 1 | 2, metric: string) => `weighted_results_image${image}_${metric}`;
const result = z.number().nullish();

const rapidataRow = z
	.object({
		prompt: nonEmpty,
		image1: imageReference,
		image2: imageReference,
		model1: z.string().nullish(),
		model2: z.string().nullish(),
		votes_image1: z.number().nonnegative().nullish(),
		votes_image2: z.number().nonnegative().nullish(),
		...Object.fromEntries(METRICS.flatMap((metric) => [field(1, metric), field(2, metric)]).map((name) => [name, result])),
	})
	.transform((row, context): (PairContent | typeof TIE)[] => {
		const results = new Map(Object.entries(row));
		const numbers = (image: 1 | 2) => METRICS.map((metric) => results.get(field(image, metric))).filter((n) => typeof n === "number");
		const isWeighted = numbers(1).length + numbers(2).length > 0;
		const votes =
			typeof row.votes_image1 === "number" && typeof row.votes_image2 === "number" ? [row.votes_image1, row.votes_image2] : undefined;
		if (!isWeighted && !votes) {
			context.addIssue({ code: "custom", path: [field(1, "preference")], message: "a result of a vote" });
			return z.NEVER;
		}
		const sum = (image: 1 | 2) => numbers(image).reduce((total, n) => total + n, 0);
		const [first, second] = isWeighted || !votes ? [sum(1), sum(2)] : votes;
		if (first === second) return [TIE];
		const { prompt, image1, image2, model1, model2 } = row;
		const images = { images: [image1, image2], imageFields: ["image1", "image2"] } as const;
		return [{ prompt, ...images, preferred: first > second ? 0 : 1, ...given({ choiceDist: votes, model1, model2 }) }];
	});

export const rapidata = eachRow(bySchema(rapidataRow));
