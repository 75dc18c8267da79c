/**
 * HPDv3's rows, of all.json, train.json and test.json alike: `path1` is the image that people preferred. Fields beside these are let pass. `choice_dist`
 * and `confidence` are null where a pair comes from Midjourney or HPDv2, and absent in test.json.
 * Format: "Pairwise Training Data Format" in the README of https://github.com/MizzenAI/HPSv3
 */
import { z } from "zod";
import { bySchema, eachRow, given, imageReference, nonEmpty, type PairContent } from "./pair-source.js";

/** One row as it stands in the file. */
const hpdv3Row = z
	.object({
		prompt: nonEmpty,
		path1: imageReference,
		path2: imageReference,
		choice_dist: z.array(z.number().nonnegative()).min(2).nullish(),
		confidence: z.number().min(0).max(1).nullish(),
		model1: z.string().nullish(),
		model2: z.string().nullish(),
	})
	.transform(({ prompt, path1, path2, choice_dist: choiceDist, confidence, model1, model2 }): PairContent[] => [
		{
			...{ prompt, images: [path1, path2], imageFields: ["path1", "path2"], preferred: 0 },
			...given({ choiceDist, confidence, model1, model2 }),
		},
	]);

export const hpdv3 = eachRow(bySchema(hpdv3Row));
