/**
 * Judged rollouts from `filtered_samples.json` or `rejected_samples.jsonl`, so that converting can start from files. Such a file may
 * have been edited or come from elsewhere: every row is checked.
 */
import { z } from "zod";
import { checkRow } from "../files/check-row.js";
import { checkedRows } from "../files/checked-rows.js";
import { readJsonRows } from "../files/read-json-rows.js";
import { rolloutShape } from "../sampler/rollout-shape.js";
import { type JudgedRollout, OUTCOMES } from "./outcome.js";

const judgedRollout: z.ZodType<JudgedRollout> = z.object({
	...rolloutShape,
	promptText: z.string(),
	finishReason: z.enum(["stop", "length", "repetition", "error"]),
	error: z.object({ kind: z.enum(["bad-image", "error"]), message: z.string() }).optional(),
	outcome: z.enum(OUTCOMES),
	answer: z.union([z.literal(1), z.literal(2)]).optional(),
	reasoning: z.string().optional(),
	answerText: z.string().optional(),
	reward: z.number().optional(),
	reason: z.string().optional(),
	rejectedBy: z.string().optional(),
});

/** @throws DatasetError for a file that can't be read and for a row that is not a judged rollout. */
export async function* readJudgedRollouts(file: string): AsyncGenerator<JudgedRollout> {
	const check = (value: unknown) => checkRow(judgedRollout, value);
	const wayOut = "write the file again with `sample`, or correct the row";
	for await (const { value } of checkedRows(file, readJsonRows(file), check, wayOut)) yield value;
}
