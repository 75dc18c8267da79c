/**
 * What is done to a row of logits before a token is drawn, in transformers' order: repetition penalty, temperature, top-k
 * (ties kept), top-p, min-p. A token that is ruled out becomes −∞. Source: transformers generation/logits_process.py.
 */
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

export interface SamplingOptions {
	temperature?: number;
	topK?: number;
	topP?: number;
	minP?: number;
	repetitionPenalty?: number;
}

/**
 * Changes a row of logits in place.
 * @param logits [V]
 * @param previous ids that are in the row already, prompt included; each is penalised once (a Set is not copied)
 */
export function processLogits(
	logits: Float32Array,
	previous: Iterable<number>,
	{ temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 }: SamplingOptions,
): void {
	if (repetitionPenalty !== 1) {
		for (const id of previous instanceof Set ? previous : new Set(previous))
			logits[id] = logits[id] < 0 ? logits[id] * repetitionPenalty : logits[id] / repetitionPenalty;
	}
	if (temperature !== 1) for (let i = 0; i < logits.length; i++) logits[i] /= temperature;
	if (topK > 0) keepTopK(logits, topK);
	if (topP < 1) keepTopP(logits, topP);
	if (minP > 0) keepMinP(logits, minP);
}

function keepTopK(logits: Float32Array, k: number): void {
	if (k >= logits.length) return;
	const smallestKept = logits.slice().sort()[logits.length - k];
	for (let i = 0; i < logits.length; i++) if (logits[i] < smallestKept) logits[i] = Number.NEGATIVE_INFINITY;
}

/** Drops the least likely tokens whose cumulative probability is at most 1 − p; the likeliest always stays. */
function keepTopP(logits: Float32Array, p: number): void {
	const probabilities = softmaxRow(logits);
	const ascending = Array.from(logits.keys())
		.filter((i) => logits[i] > Number.NEGATIVE_INFINITY)
		.sort((a, b) => logits[a] - logits[b] || a - b);
	let cumulative = 0;
	for (let n = 0; n < ascending.length - 1; n++) {
		cumulative += probabilities[ascending[n]];
		if (cumulative > 1 - p) return;
		logits[ascending[n]] = Number.NEGATIVE_INFINITY;
	}
}

function keepMinP(logits: Float32Array, minP: number): void {
	const smallestKept = logits[argmax(logits)] + Math.log(minP);
	for (let i = 0; i < logits.length; i++) if (logits[i] < smallestKept) logits[i] = Number.NEGATIVE_INFINITY;
}

/** @returns [V] probabilities in double precision; −∞ has none */
function softmaxRow(logits: Float32Array): Float64Array {
	const max = logits[argmax(logits)];
	const probabilities = new Float64Array(logits.length);
	let total = 0;
	for (let i = 0; i < logits.length; i++) total += probabilities[i] = Math.exp(logits[i] - max);
	for (let i = 0; i < logits.length; i++) probabilities[i] /= total;
	return probabilities;
}

/** The index of the largest logit, the first of equals. */
export function argmax(logits: Float32Array): number {
	let best = 0;
	for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
	return best;
}

/** A row's own random stream: its draws depend on the seed alone. */
export type RowRandom = RandomGenerator;

/** @param seed uint32 */
export function rowRandom(seed: number): RowRandom {
	return xoroshiro128plus(seed);
}

/** Draws a token by the softmax of processed logits. */
export function drawToken(logits: Float32Array, random: RowRandom): number {
	return drawFrom(softmaxRow(logits), random);
}

/**
 * Draws a token by inverting the cumulative distribution at one uniform number.
 * @param probabilities [V], a sum of 1 but for rounding
 */
export function drawFrom(probabilities: Float32Array | Float64Array, random: RowRandom): number {
	const uniform = (random.next() >>> 0) / 2 ** 32;
	let cumulative = 0;
	let last = 0;
	for (let i = 0; i < probabilities.length; i++) {
		if (probabilities[i] === 0) continue;
		cumulative += probabilities[i];
		last = i;
		if (uniform < cumulative) return i;
	}
	return last; // rounding left the sum just below 1
}
