/**
 * A judge as a reward: how likely it finds each of two images the better one, from the logits at its answer and not from a drawn word. Both shown orders are asked
 * and averaged, so that a leaning to one position cancels out.
 */
import type { ShownOrder } from "../dataset/preference-record.js";
import type {
	FailedSample,
	GeneratedSample,
	GenerateStreamOptions,
	GenerationRequest,
	GenerativeModel,
} from "../model/generative-model.js";
import { ImageError } from "../model/generative-model.js";
import { generateInBatches } from "./generate-in-batches.js";
import { ANSWERS, checkTemplate, DEFAULT_COT_PROMPT, DEFAULT_NO_COT_PROMPT, fillTemplate, judgeMessages } from "./prompt.js";
import { answerProbabilities } from "./verdict-score.js";

export interface ImagePair {
	/** The caption. */
	prompt: string;
	/** Paths, or bytes of encoded images. */
	images: readonly [string | Buffer, string | Buffer];
}

export interface ScorePairOptions {
	/** Let the judge reason before its answer: better where it was trained to, and much slower. Default false: straight to `<answer>`. */
	useCot?: boolean;
	/** The question, `{prompt}` where the caption goes. Default: the library's, with or without reasoning. */
	promptTemplate?: string;
	/** The orders in which the images are shown. Default: both. */
	orders?: "both" | "stored";
	/** Most tokens of a judgement, with reasoning. Default 2048. */
	maxNewTokens?: number;
	/** Tokens after which reasoning is closed, so that there is an answer to score. Default: `maxNewTokens` less 32; none for a remote judge. */
	thinkingBudget?: number;
	/** Of the reasoning; 0, the default, is greedy. */
	temperature?: number;
	/** Of the reasoning's draws. Default 0. */
	seed?: number;
	/** Rows computed together. Default 32. */
	batchSize?: number;
	signal?: AbortSignal;
}

/** What the judge says in one shown order. */
export interface OrderScore {
	order: ShownOrder;
	/** "Image 1 is better" against "Image 2 is better", as shown. */
	image1: number;
	/** By image, as given. */
	probabilities: [number, number];
	/** Both answers together, of all that the judge might have said there: near 0 where it would have said something else. */
	mass: number;
	/** With reasoning: what it said. */
	completion?: string;
}

export interface PairScore {
	/** That images[0], and images[1], is the better one: the mean over the orders. They add up to 1. */
	probabilities: [number, number];
	orders: OrderScore[];
}

/** @throws as scorePairs does */
export async function scorePair(model: GenerativeModel, pair: ImagePair, options: ScorePairOptions = {}): Promise<PairScore> {
	for await (const score of scorePairs(model, [pair], options)) return score;
	throw new Error("scorePair: the model ended without a word");
}

/**
 * Yields in the pairs' order. A pair's orders share the images' features, and pairs are computed together.
 * @throws RangeError for options out of range; ImageError for an image that can't be read; Error where the judge ends without an answer, or its model gives no log-probabilities; the signal's reason
 */
export async function* scorePairs(
	model: GenerativeModel,
	pairs: Iterable<ImagePair> | AsyncIterable<ImagePair>,
	options: ScorePairOptions = {},
): AsyncGenerator<PairScore> {
	const { useCot = false, promptTemplate = useCot ? DEFAULT_COT_PROMPT : DEFAULT_NO_COT_PROMPT, orders = "both", seed = 0 } = options;
	checkTemplate(promptTemplate);
	const shown: ShownOrder[] =
		orders === "both"
			? [
					[0, 1],
					[1, 0],
				]
			: [[0, 1]];
	const sampling = samplingOf(options, useCot, model.canGuide ?? true);
	const requests = encodePairs(model, pairs, promptTemplate, shown, seed);
	const scores = new Map<number, OrderScore>();
	let next = 0;
	const samples = model.generateStream ? model.generateStream(requests, sampling) : generateInBatches(model, requests, sampling);
	for await (const sample of samples) {
		scores.set(sample.request, orderScore(sample, shown[sample.request % shown.length], useCot));
		for (let own = take(scores, next, shown.length); own; own = take(scores, next, shown.length)) {
			next++;
			yield mean(own);
		}
	}
}

function samplingOf(options: ScorePairOptions, useCot: boolean, canGuide: boolean): GenerateStreamOptions {
	const { batchSize = 32, signal } = options;
	if (!useCot) return { batchSize, signal, maxNewTokens: 1, answers: { texts: ANSWERS, score: true, straight: true } };
	const { maxNewTokens = 2048, temperature = 0, thinkingBudget = canGuide ? Math.max(1, maxNewTokens - 32) : undefined } = options;
	return { batchSize, signal, maxNewTokens, temperature, thinkingBudget, answers: { texts: ANSWERS, score: true } };
}

async function* encodePairs(
	model: GenerativeModel,
	pairs: Iterable<ImagePair> | AsyncIterable<ImagePair>,
	template: string,
	orders: readonly ShownOrder[],
	seed: number,
): AsyncGenerator<GenerationRequest> {
	for await (const { prompt, images } of pairs) {
		const question = fillTemplate(template, prompt);
		const messages = orders.map(([first, second]) => judgeMessages([images[first], images[second]], question));
		const encoded = await Promise.all(messages.map((one) => model.processor.encodeConversation(one, { addGenerationPrompt: true })));
		for (const one of encoded) yield { encoded: one, seeds: [seed] };
	}
}

function orderScore(sample: GeneratedSample | FailedSample, order: ShownOrder, useCot: boolean): OrderScore {
	if ("error" in sample) {
		if (sample.error.kind === "bad-image") throw new ImageError("scorePair", sample.error.message);
		throw new Error(`scorePair: ${sample.error.message}`);
	}
	if (!sample.answerLogProbs) {
		const said = JSON.stringify(sample.text.slice(-60));
		throw new Error(
			`scorePair: expected an answer to score, got a judgement that ends with ${said} and has none; is it a judge, asked in its own words (promptTemplate)?`,
		);
	}
	const { image1, mass } = answerProbabilities(sample.answerLogProbs);
	const probabilities: [number, number] = order[0] === 0 ? [image1, 1 - image1] : [1 - image1, image1];
	return { order, image1, probabilities, mass, ...(useCot && { completion: sample.text }) };
}

/** The scores of pair number `pair`, once all are there. */
function take(scores: Map<number, OrderScore>, pair: number, count: number): OrderScore[] | undefined {
	const numbers = Array.from({ length: count }, (_, i) => pair * count + i);
	const own = numbers.map((number) => scores.get(number)).filter((score) => score !== undefined);
	if (own.length < count) return undefined;
	for (const number of numbers) scores.delete(number);
	return own;
}

function mean(orders: OrderScore[]): PairScore {
	const first = orders.reduce((sum, { probabilities }) => sum + probabilities[0], 0) / orders.length;
	return { probabilities: [first, 1 - first], orders };
}
