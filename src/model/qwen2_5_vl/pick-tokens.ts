/**
 * Chooses each row's next token from the logits, with one read-back: the likeliest tokens' ids to decode greedily, probabilities to sample plainly
 * (the device's softmax: exponentials of a vocabulary of 150,000 take JavaScript milliseconds per row), whole rows of logits for everything else.
 */
import { div, softmax, type Tensor1D, type Tensor2D, tidy } from "../../backend/tf.js";
import type { GenerateOptions } from "../generative-model.js";
import { argmax, drawFrom, drawToken, processLogits, type RowRandom } from "../logits-processors.js";

/** What choosing a token needs of a row. */
export interface SampledRow {
	/** Ids of the prompt, for the repetition penalty. */
	prompt: Int32Array;
	/** Generated so far. */
	tokens: number[];
	random: RowRandom;
}

/**
 * @param logits [B, V]
 * @param best [B] the likeliest tokens
 * @param rows by row of the logits; undefined where none runs
 * @returns a token per row
 */
export async function pickTokens(
	{ logits, best }: { logits: Tensor2D; best: Tensor1D },
	rows: readonly (SampledRow | undefined)[],
	options: GenerateOptions,
): Promise<ArrayLike<number>> {
	const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
	if (temperature === 0 && repetitionPenalty === 1) return best.data();
	const plain = topK === 0 && topP === 1 && minP === 0 && repetitionPenalty === 1;
	const read = plain ? tidy(() => softmax(div(logits, temperature)) as Tensor2D) : logits;
	const all = (await read.data()) as Float32Array;
	if (plain) read.dispose();
	const vocabulary = logits.shape[1];
	return rows.map((row, i) => {
		if (!row) return 0;
		const own = all.subarray(i * vocabulary, (i + 1) * vocabulary);
		if (plain) return drawFrom(own, row.random);
		const previous = repetitionPenalty === 1 ? [] : [...row.prompt, ...row.tokens];
		processLogits(own, previous, temperature === 0 ? { repetitionPenalty } : options);
		return temperature === 0 ? argmax(own) : drawToken(own, row.random);
	});
}
