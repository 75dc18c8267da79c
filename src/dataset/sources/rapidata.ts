/**
 * Rapidata's pairs of images: for each image, weighted results of votes on preference, coherence and alignment. As in LightRFT's `rapidata.py`
 * (which reads the same data of videos), the image with the higher sum is preferred, a result that is missing counts 0, and equal sums are ties.
 * Format: https://huggingface.co/datasets/Rapidata/OpenAI-4o_t2i_human_preference
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
		...Object.fromEntries(METRICS.flatMap((metric) => [field(1, metric), field(2, metric)]).map((name) => [name, result])),
	})
	.transform((row, context): (PairContent | typeof TIE)[] => {
		const results = new Map(Object.entries(row));
		const numbers = (image: 1 | 2) => METRICS.map((metric) => results.get(field(image, metric))).filter((n) => typeof n === "number");
		if (numbers(1).length + numbers(2).length === 0) {
			context.addIssue({ code: "custom", path: [field(1, "preference")], message: "a result of a vote" });
			return z.NEVER;
		}
		const [first, second] = ([1, 2] as const).map((image) => numbers(image).reduce((sum, n) => sum + n, 0));
		if (first === second) return [TIE];
		const { prompt, image1, image2, model1, model2 } = row;
		const images = { images: [image1, image2], imageFields: ["image1", "image2"] } as const;
		return [{ prompt, ...images, preferred: first > second ? 0 : 1, ...given({ model1, model2 }) }];
	});

export const rapidata = eachRow(bySchema(rapidataRow));
