/** A micro-batch of pairs on the device: the chosen answers' conversations, and behind them those of the rejected ones. */
import { tensor1d, tensor2d } from "../backend/tf.js";
import type { EncodedConversation, TrainableModel } from "../model/generative-model.js";
import { countLabels, type TrainingExample } from "./collate.js";
import { type LabelledTokens, labelledTokens } from "./labelled-batch.js";
import type { BatchOptions } from "./objective.js";
import type { PairTensors } from "./preference-loss.js";

/** The tensors are the caller's to dispose. */
export type PairBatch = LabelledTokens & PairTensors;

/** A row of which both answers are encoded. */
export interface PairExample extends TrainingExample {
	rejected: EncodedConversation;
}

/**
 * @param pairs the micro-batch's
 * @param options.total pairs of the whole step
 * @param options.referenceOf log-probabilities of a pair's chosen and rejected answer before training
 */
export function pairBatch(
	model: TrainableModel,
	pairs: readonly PairExample[],
	{ total, referenceOf, ...options }: BatchOptions & { referenceOf: (pair: PairExample) => readonly [number, number] },
): PairBatch {
	const answers = [...pairs, ...pairs.map(({ rejected }) => ({ encoded: rejected }))];
	const { tokens, positions, length, size } = labelledTokens(model, answers, options);
	const members = new Float32Array(answers.length * size);
	for (const [i, position] of positions.entries()) members[Math.floor(position / length) * size + i] = 1;
	const reference = pairs.map(referenceOf);
	return {
		...tokens,
		members: tensor2d(members, [answers.length, size]),
		reference: tensor1d([0, 1].flatMap((side) => reference.map((logProbs) => logProbs[side]))),
		lengths: tensor1d(answers.map(({ encoded }) => countLabels(encoded))),
		shares: tensor1d(pairs.map(() => 1 / total)),
	};
}
