/** An optimizer by its name. */
import type { WorkerGroup } from "../backend/cluster/worker-group.js";
import type { Variable } from "../backend/tf.js";
import { Adafactor } from "./adafactor.js";
import { AdamW } from "./adamw.js";
import type { Optimizer } from "./optimizer-state.js";
import type { ZeroStage } from "./sharding/exchange-with.js";
import { ShardedAdamW } from "./sharding/sharded-adamw.js";

export const OPTIMIZERS = ["adamw", "adafactor"] as const;
export type OptimizerName = (typeof OPTIMIZERS)[number];

export interface MakeOptimizerOptions {
	/** AdamW's. */
	betas?: readonly [number, number];
	weightDecay?: number;
	eager?: boolean;
	/** The processes that share AdamW's state among them from stage 1 on. Default: it is whole. */
	workers?: WorkerGroup;
	zeroStage?: ZeroStage;
}

/** @param parameters those to train */
export function makeOptimizer(
	name: OptimizerName,
	parameters: ReadonlyMap<string, Variable>,
	{ betas, weightDecay, eager, workers, zeroStage = 0 }: MakeOptimizerOptions,
): Optimizer {
	if (name === "adafactor") return new Adafactor(parameters, { weightDecay, eager });
	if (workers && zeroStage > 0) return new ShardedAdamW(parameters, workers, { betas, weightDecay });
	return new AdamW(parameters, { betas, weightDecay, eager });
}
