/**
 * HPDv3's rows: `path1` is the image that people preferred. Fields beside these are let pass; the optional ones may be null,
 * as they are in the published files. Format: https://huggingface.co/datasets/MizzenAI/HPDv3
 */
import { z } from "zod";
import type { PreferenceRecord } from "./preference-record.js";

const nonEmpty = z.string().refine((text) => text.trim() !== "", "a non-empty string");

/** One row as it stands in the file. */
export const hpdv3Row = z.object({
	prompt: nonEmpty,
	path1: nonEmpty,
	path2: nonEmpty,
	choice_dist: z.array(z.number().nonnegative()).min(2).nullish(),
	confidence: z.number().min(0).max(1).nullish(),
	model1: z.string().nullish(),
	model2: z.string().nullish(),
});

/** What a schema reads from a row: all of a record but what depends on where the row stands and how it is shown. */
export type RowContent = Pick<PreferenceRecord, "prompt" | "preferred" | "choiceDist" | "confidence" | "model1" | "model2"> & {
	/** Image paths as written. */
	paths: readonly [string, string];
	/** The fields that `paths` came from, for messages. */
	pathFields: readonly [string, string];
};

/** The row's content; null fields are left out. */
export function fromHpdv3(row: z.infer<typeof hpdv3Row>): RowContent {
	return {
		prompt: row.prompt,
		paths: [row.path1, row.path2],
		pathFields: ["path1", "path2"],
		preferred: 0,
		...(row.choice_dist != null && { choiceDist: row.choice_dist }),
		...(row.confidence != null && { confidence: row.confidence }),
		...(row.model1 != null && { model1: row.model1 }),
		...(row.model2 != null && { model2: row.model2 }),
	};
}
