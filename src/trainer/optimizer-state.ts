/** What the loop and a checkpoint need of an optimizer: AdamW (adamw.ts) and Adafactor (adafactor.ts) are two. */

import type { FlatGradients, ParameterBucket } from "./parameter-buckets.js";
import type { GatheredState } from "./sharding/gathered-state.js";

/** What a step needs beside the gradients. */
export interface OptimizerStep {
	learningRate: number;
	/** Multiplies every gradient first: the clipping factor. Default 1. */
	gradientScale?: number;
}

/** One tensor of the optimizer's state, read back when asked for. */
export interface StateTensor {
	/** `<what>.<parameter>`, such as `exp_avg.model.norm.weight`. */
	name: string;
	shape: readonly number[];
	values: () => Promise<Float32Array>;
}

export interface Optimizer {
	/** Gradients come in this layout. */
	readonly buckets: readonly ParameterBucket[];
	/** Graphs made so far. */
	readonly signatures: number;
	/** Where each process holds a shard of the state only: how a checkpoint is written. */
	readonly gathered?: GatheredState;
	/** Updates the parameters in place. `gradients` stay the caller's; a bucket without one is left alone. */
	step(gradients: FlatGradients, step: OptimizerStep): void | Promise<void>;
	/** The whole state, for a checkpoint; valid until the next step. */
	stateTensors(): StateTensor[];
	/**
	 * Takes up a saved state.
	 *
	 * @param read the values of one tensor of `stateTensors`, which must be `size` many
	 * @throws when parameters that are updated together differ in their step
	 */
	restore(read: (name: string, size: number) => Promise<Float32Array>): Promise<void>;
	dispose(): void;
}

/** @throws when parameters that are updated together were saved at different steps */
export function theOneStep({ names }: ParameterBucket, steps: ReadonlySet<number>): number {
	const [step, ...others] = steps;
	if (others.length === 0) return step;
	throw new Error(
		`optimizer state: ${names[0]} … ${names.at(-1)} are updated together but saved at steps ${[...steps]}; resume with the checkpoint's decay options`,
	);
}
