/**
 * One step's gradients: forward and backward over micro-batches, added up, with one read-back at the end.
 * The event loop gets a turn between micro-batches.
 */

import { setImmediate } from "node:timers/promises";
import { atRank } from "../backend/cluster/at-rank.js";
import { throwIfStopping } from "../backend/cluster/stop-together.js";
import { concat, dispose, reshape, type Tensor1D, tidy } from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import { squaredGradNorm } from "./clip-grad-norm.js";
import type { TrainingExample } from "./collate.js";
import { ALONE, type GradientExchange } from "./gradient-exchange.js";
import { gradientSums } from "./gradient-sums.js";
import { paddedSize } from "./labelled-batch.js";
import type { MicroStep } from "./micro-step.js";
import { conversationsOf, packExamples, type TrainingRowOfBatch } from "./pack-examples.js";
import type { FlatGradients, ParameterBucket } from "./parameter-buckets.js";

export interface AccumulateOptions {
	/** Rows per forward pass: examples, or with `packing` several in one. */
	microTrainBatchSize: number;
	microStep: MicroStep;
	/** The layout of the gradients: the micro-step's. */
	buckets: readonly ParameterBucket[];
	/** Several examples in one row. Default: one. */
	packing?: { maxTokens?: number };
	/** NEFTune's noise; a seed (uint32) for each example. Default: none. */
	embeddingNoise?: { alpha: number; seedOf: (example: TrainingExample) => number };
	/** Of an adapter's dropout (uint32), by the micro-batch's first example. Default: nothing is dropped. */
	dropoutSeedOf?: (first: TrainingExample) => number;
	/** Checked before each micro-batch; with other processes before the first, for all of them to stop at the same step. */
	signal?: AbortSignal;
	/** With the other processes of the run, each of which has a share of the step's examples. Default: there are none. */
	exchange?: GradientExchange;
}

/** Of all processes; `gradients` are the caller's to dispose. */
export interface AccumulatedGradients {
	gradients: FlatGradients;
	/** The objective's, over all examples; in supervised fine-tuning the mean negative log-likelihood of labelled tokens, in nats. */
	loss: number;
	/** The objective's, by their names. */
	metrics: Record<string, number>;
	/** L2 norm over all gradients (of all shards), before clipping. */
	gradNorm: number;
	/** Examples of micro-batches whose loss is not a number or infinite, among this process's. */
	nonFinite: TrainingExample[];
	/** Examples; with DPO pairs. */
	samples: number;
	/** Tokens of all examples. */
	tokens: number;
	/** Positions that were computed: the tokens, and what filled their rows up. */
	positions: number;
}

/**
 * @returns of no tokens, and no gradients, where no process has an example
 * @throws the signal's reason, with nothing left allocated; StoppedElsewhereError
 */
export async function accumulateGradients(
	model: TrainableModel,
	examples: readonly TrainingExample[],
	{ microTrainBatchSize, microStep, buckets, packing, embeddingNoise, dropoutSeedOf, signal, exchange = ALONE }: AccumulateOptions,
): Promise<AccumulatedGradients> {
	const rows: TrainingRowOfBatch[] = packing
		? packExamples(examples, packing.maxTokens)
		: examples.map((example) => ({ encoded: example.encoded, examples: [example] }));
	const batches = Array.from({ length: Math.ceil(rows.length / microTrainBatchSize) }, (_, i) =>
		rows.slice(i * microTrainBatchSize, (i + 1) * microTrainBatchSize),
	);
	const { objective } = microStep;
	const counted = examples.reduce((n, example) => n + objective.countOf(example), 0);
	const { total, samples, tokens, positions, rounds } = await countTogether(
		{ counted, samples: examples.length },
		batches,
		signal,
		exchange,
	);
	if (tokens === 0) return { gradients: [], loss: 0, metrics: {}, gradNorm: 0, nonFinite: [], samples, tokens, positions };
	const shares: Tensor1D[] = [];
	const sums = gradientSums(exchange, buckets, batches.length, rounds);
	try {
		for (const mine of batches) {
			if (exchange.size === 1) signal?.throwIfAborted();
			const seeds = mine.flatMap(({ examples }) => examples.map((example) => embeddingNoise?.seedOf(example) ?? 0));
			const noise = embeddingNoise && { alpha: embeddingNoise.alpha, seeds };
			const dropoutSeed = dropoutSeedOf?.(mine[0].examples[0]);
			const batch = objective.batch(model, mine, { total, embeddingNoise: noise, dropoutSeed });
			const micro = await microStep.run(batch, sums.soFar).finally(() => dispose(batch));
			shares.push(micro.shares);
			sums.add(micro);
			await setImmediate();
		}
		const gradients = await sums.finish();
		try {
			const { ofBatches, squares } = await readBack(shares, gradients);
			const nonFinite = batches
				.filter((_, i) => !Number.isFinite(ofBatches[i][0]))
				.flatMap((mine) => mine.flatMap(({ examples }) => examples));
			const names = ["loss", ...objective.metrics];
			// Shards add up over the processes, and their squares do; whole gradients are the same in all.
			const [ofShards, loss, ...means] = await exchange.sum([
				exchange.sharded ? squares : 0,
				...names.map((_, i) => ofBatches.reduce((sum, of) => sum + of[i], 0)),
			]);
			const metrics = Object.fromEntries(objective.metrics.map((name, i) => [name, means[i]]));
			const gradNorm = Math.fround(Math.sqrt(exchange.sharded ? ofShards : squares));
			return { gradients, loss, metrics, gradNorm, nonFinite, samples, tokens, positions };
		} catch (error) {
			disposeGradients(gradients);
			throw error;
		}
	} finally {
		sums.dispose();
		dispose(shares);
	}
}

export function disposeGradients(gradients: FlatGradients): void {
	for (const gradient of gradients) gradient?.dispose();
}

/** What the processes have to do in this step. @param mine what this one's examples count, and how many they are @throws where one of them is to stop, in all of them */
async function countTogether(
	mine: { counted: number; samples: number },
	batches: readonly TrainingRowOfBatch[][],
	signal: AbortSignal | undefined,
	exchange: GradientExchange,
): Promise<Record<"total" | "samples" | "tokens" | "positions" | "rounds", number>> {
	const [total, samples, tokens, positions, stopping, ...rounds] = await exchange.sum([
		mine.counted,
		mine.samples,
		conversationsOf(batches.flat()).reduce((n, { encoded }) => n + encoded.inputIds.length, 0),
		batches.reduce((n, batch) => n + paddedSize(conversationsOf(batch)), 0),
		signal?.aborted ? 1 : 0,
		...atRank(exchange, batches.length),
	]);
	throwIfStopping(stopping, signal);
	return { total, samples, tokens, positions, rounds: Math.max(...rounds) };
}

/** The step's one read-back. @returns each micro-batch's shares, and the sum of the gradients' squares */
async function readBack(shares: Tensor1D[], gradients: FlatGradients): Promise<{ ofBatches: number[][]; squares: number }> {
	const both = tidy(() => concat([...shares, reshape(squaredGradNorm(gradients), [1]) as Tensor1D]));
	try {
		const values = Array.from(await both.data());
		const size = (values.length - 1) / Math.max(1, shares.length);
		const ofBatches = shares.map((_, i) => values.slice(i * size, (i + 1) * size));
		return { ofBatches, squares: values[values.length - 1] };
	} finally {
		both.dispose();
	}
}
