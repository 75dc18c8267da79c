/** An optimizer by its name. */
import type { Variable } from "../backend/tf.js";
import { Adafactor } from "./adafactor.js";
import { AdamW } from "./adamw.js";
import type { Optimizer } from "./optimizer-state.js";

export const OPTIMIZERS = ["adamw", "adafactor"] as const;
export type OptimizerName = (typeof OPTIMIZERS)[number];

export interface MakeOptimizerOptions {
	/** AdamW's. */
	betas?: readonly [number, number];
	weightDecay?: number;
	eager?: boolean;
}

/** @param parameters those to train */
export function makeOptimizer(
	name: OptimizerName,
	parameters: ReadonlyMap<string, Variable>,
	{ betas, weightDecay, eager }: MakeOptimizerOptions,
): Optimizer {
	if (name === "adafactor") return new Adafactor(parameters, { weightDecay, eager });
	return new AdamW(parameters, { betas, weightDecay, eager });
}
