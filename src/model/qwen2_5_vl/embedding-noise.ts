/**
 * NEFTune's noise (Jain et al. 2023; transformers integrations/neftune.py): uniform in ±alpha / √(L · C), drawn on the host, so that a graph has
 * it as an input. L is the length of the token's own conversation (transformers: of the padded batch), so that neither the
 * split into batches nor packing changes it.
 *
 * Legend: N = B·T tokens, C hidden.
 */
import { type Tensor2D, tensor2d } from "../../backend/tf.js";
import type { EmbeddingNoise, ModelInputs } from "../generative-model.js";
import { fillUniform } from "./fill-uniform.js";

/**
 * @param channels C
 * @returns [N, C], 0 on padding
 * @throws where there are not as many seeds as conversations
 */
export function drawNoise(
	{ inputIds, attentionMask, segmentIds }: ModelInputs,
	{ alpha, seeds }: EmbeddingNoise,
	channels: number,
): Tensor2D {
	const [batch, length] = inputIds.shape;
	const ids = (segmentIds ?? attentionMask).data;
	const noise = new Float32Array(batch * length * channels);
	let conversation = 0;
	for (let from = 0; from < ids.length; ) {
		let to = from + 1;
		while (to % length > 0 && ids[to] === ids[from]) to++;
		if (ids[from] !== 0) {
			fillUniform(noise.subarray(from * channels, to * channels), alpha / Math.sqrt((to - from) * channels), seeds[conversation]);
			conversation++;
		}
		from = to;
	}
	if (conversation !== seeds.length)
		throw new Error(`embeddingNoise: ${seeds.length} seeds for ${conversation} conversations; give one for each`);
	return tensor2d(noise, [batch * length, channels]);
}
