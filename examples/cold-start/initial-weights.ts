/**
 * The initialisation that lets a judge this small learn to see: every matrix N(0, 1/fan-in), output projections at half of that deviation,
 * embeddings 0.05, patch embedding 1.4 times. With the usual 0.02 everywhere, places were told right in 24 % of the pictures
 * after as many samples, against 100 % (in trials with torch).
 */
import * as tf from "@tensorflow/tfjs-core";
import type { Qwen2_5VLModel } from "../../src/index.js";

/** Standard deviation of one matrix. */
function deviation(key: string, shape: readonly number[]): number {
	if (key === "model.embed_tokens.weight") return 0.05;
	const fanIn = shape.slice(1).reduce((product, dim) => product * dim, 1);
	const scale = /patch_embed/.test(key) ? 1.4 : /(o_proj|down_proj|attn\.proj)\.weight$/.test(key) ? 0.5 : 1;
	return scale / Math.sqrt(fanIn);
}

/** Redraws every matrix; norms stay 1 and biases 0, as `initModel` made them. */
export function drawInitialWeights(model: Qwen2_5VLModel, seed: number): void {
	let number = 0;
	for (const [key, parameter] of model.namedParameters()) {
		number++;
		if (parameter.rank < 2) continue;
		tf.tidy(() => parameter.assign(tf.randomNormal(parameter.shape, 0, deviation(key, parameter.shape), "float32", 1000 * seed + number)));
	}
}
