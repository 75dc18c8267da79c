/** What all JSON of rollouts has, in journals and in the files that judging writes: the fields of a zod object, to be extended. */
import { z } from "zod";
import { recordShape } from "../dataset/record-shape.js";

const count = z.number().int().nonnegative();
const share = z.number().min(0).max(1);

export const rolloutShape = {
	record: recordShape,
	sampleIndex: count,
	seed: count,
	completion: z.string(),
	numTokens: count,
	forced: z.literal(true).optional(),
	score: z.object({ image1: share, preferred: share, mass: share }).optional(),
};
