/** What a record's JSON must be wherever one is read back: journals, kept and rejected rollouts. Fields beside these are passed on as they were written. */
import { z } from "zod";
import type { PreferenceRecord } from "./preference-record.js";

const zeroOrOne = z.union([z.literal(0), z.literal(1)]);

export const recordShape: z.ZodType<PreferenceRecord> = z.looseObject({
	key: z.string(),
	prompt: z.string(),
	images: z.tuple([z.string(), z.string()]),
	preferred: zeroOrOne,
	order: z.union([z.tuple([z.literal(0), z.literal(1)]), z.tuple([z.literal(1), z.literal(0)])]),
	source: z.object({ name: z.string(), file: z.string(), row: z.number().int().nonnegative() }),
	criteria: z.string().optional(),
	choiceDist: z.array(z.number()).optional(),
	confidence: z.number().optional(),
	model1: z.string().optional(),
	model2: z.string().optional(),
});
