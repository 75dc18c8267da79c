/**
 * One step's gradients: forward and backward over micro-batches, added up, with one read-back at the end.
 * The event loop gets a turn between micro-batches.
 */
import { setImmediate } from "node:timers/promises";
import { concat, dispose, reshape, type Scalar, sqrt, type Tensor1D, tidy, zeros } from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import { squaredGradNorm } from "./clip-grad-norm.js";
import { countLabels, type TrainingExample } from "./collate.js";
import { ALONE, type GradientExchange } from "./gradient-exchange.js";
import { labelledBatch, paddedSize } from "./labelled-batch.js";
import type { MicroStep } from "./micro-step.js";
import { packExamples, type TrainingRowOfBatch } from "./pack-examples.js";
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

/** Another process of the run was told to stop. */
export class StoppedElsewhereError extends Error {
	override readonly name = "StoppedElsewhereError";

	constructor() {
		super("another worker was stopped by its user, and all stop with it");
	}
}

/** Of all processes; `gradients` are the caller's to dispose. */
export interface AccumulatedGradients {
	gradients: FlatGradients;
	/** Mean negative log-likelihood over the labelled tokens of all examples, in nats. */
	loss: number;
	/** L2 norm over all gradients, before clipping. */
	gradNorm: number;
	/** Examples of micro-batches whose loss is not a number or infinite, among this process's. */
	nonFinite: TrainingExample[];
	/** Examples. */
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
	const { labelTokens, samples, tokens, positions } = await countTogether(examples, batches, signal, exchange);
	if (tokens === 0) return { gradients: [], loss: 0, gradNorm: 0, nonFinite: [], samples, tokens, positions };
	const losses: Scalar[] = [];
	const reached = new Set<number>();
	// Sums begin at zeros, so that the first micro-batch needs no graph of its own; alone, it is the sum.
	const several = batches.length > 1;
	let sums: FlatGradients = buckets.map(({ size }) => (several ? zeros([size]) : undefined));
	try {
		for (const mine of batches) {
			if (exchange.size === 1) signal?.throwIfAborted();
			const seeds = mine.flatMap(({ examples }) => examples.map((example) => embeddingNoise?.seedOf(example) ?? 0));
			const noise = embeddingNoise && { alpha: embeddingNoise.alpha, seeds };
			const dropoutSeed = dropoutSeedOf?.(mine[0].examples[0]);
			const batch = labelledBatch(model, mine, { labelTokens, embeddingNoise: noise, dropoutSeed });
			const micro = await microStep.run(batch, sums).finally(() => dispose(batch));
			losses.push(micro.loss);
			sums = micro.gradients.map((sum, i) => {
				if (!sum) return sums[i];
				reached.add(i);
				sums[i]?.dispose();
				return sum;
			});
			await setImmediate();
		}
		disposeGradients(sums.map((sum, i) => (reached.has(i) ? undefined : sum)));
		sums = sums.map((sum, i) => (reached.has(i) ? sum : undefined));
		sums = await exchange.sumGradients(sums);
		const { shares, gradNorm } = await readBack(losses, sums);
		const nonFinite = batches.filter((_, i) => !Number.isFinite(shares[i])).flatMap((mine) => mine.flatMap(({ examples }) => examples));
		const [loss] = await exchange.sum([shares.reduce((sum, share) => sum + share, 0)]);
		return { gradients: sums, loss, gradNorm, nonFinite, samples, tokens, positions };
	} catch (error) {
		disposeGradients(sums);
		throw error;
	} finally {
		dispose(losses);
	}
}

export function disposeGradients(gradients: FlatGradients): void {
	for (const gradient of gradients) gradient?.dispose();
}

/** What the processes have to do in this step. @throws where one of them is to stop, in all of them */
async function countTogether(
	examples: readonly TrainingExample[],
	batches: readonly TrainingRowOfBatch[][],
	signal: AbortSignal | undefined,
	exchange: GradientExchange,
): Promise<Record<"labelTokens" | "samples" | "tokens" | "positions", number>> {
	const [labelTokens, samples, tokens, positions, stopping] = await exchange.sum([
		examples.reduce((n, example) => n + countLabels(example.encoded), 0),
		examples.length,
		batches.flat().reduce((n, { encoded }) => n + encoded.inputIds.length, 0),
		batches.reduce((n, mine) => n + paddedSize(mine), 0),
		signal?.aborted ? 1 : 0,
	]);
	if (stopping > 0) {
		signal?.throwIfAborted();
		throw new StoppedElsewhereError();
	}
	return { labelTokens, samples, tokens, positions };
}

/** The step's one read-back. */
async function readBack(losses: Scalar[], gradients: FlatGradients): Promise<{ shares: number[]; gradNorm: number }> {
	const both = tidy(() => concat([...losses, sqrt(squaredGradNorm(gradients)) as Scalar].map((s) => reshape(s, [1]) as Tensor1D)));
	try {
		const values = Array.from(await both.data());
		return { shares: values.slice(0, -1), gradNorm: values[values.length - 1] };
	} finally {
		both.dispose();
	}
}
