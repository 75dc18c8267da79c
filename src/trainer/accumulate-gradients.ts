/**
 * One step's gradients: forward and backward over micro-batches, added up, with one read-back at the end.
 * The event loop gets a turn between micro-batches.
 */
import { setImmediate } from "node:timers/promises";
import { concat, dispose, reshape, type Scalar, sqrt, type Tensor1D, tidy, zeros } from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import { squaredGradNorm } from "./clip-grad-norm.js";
import { countLabels, type TrainingExample } from "./collate.js";
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
	/** Checked before each micro-batch. */
	signal?: AbortSignal;
}

/** `gradients` are the caller's to dispose. */
export interface AccumulatedGradients {
	gradients: FlatGradients;
	/** Mean negative log-likelihood over the labelled tokens of all examples, in nats. */
	loss: number;
	/** L2 norm over all gradients, before clipping. */
	gradNorm: number;
	/** Examples of micro-batches whose loss is not a number or infinite. */
	nonFinite: TrainingExample[];
	/** Tokens of all examples. */
	tokens: number;
	/** Positions that were computed: the tokens, and what filled their rows up. */
	positions: number;
}

/** @throws the signal's reason, with nothing left allocated. */
export async function accumulateGradients(
	model: TrainableModel,
	examples: readonly TrainingExample[],
	{ microTrainBatchSize, microStep, buckets, packing, embeddingNoise, dropoutSeedOf, signal }: AccumulateOptions,
): Promise<AccumulatedGradients> {
	const rows: TrainingRowOfBatch[] = packing
		? packExamples(examples, packing.maxTokens)
		: examples.map((example) => ({ encoded: example.encoded, examples: [example] }));
	const batches = Array.from({ length: Math.ceil(rows.length / microTrainBatchSize) }, (_, i) =>
		rows.slice(i * microTrainBatchSize, (i + 1) * microTrainBatchSize),
	);
	const labelTokens = examples.reduce((n, example) => n + countLabels(example.encoded), 0);
	const losses: Scalar[] = [];
	const reached = new Set<number>();
	// Sums begin at zeros, so that the first micro-batch needs no graph of its own; alone, it is the sum.
	const several = batches.length > 1;
	let sums: FlatGradients = buckets.map(({ size }) => (several ? zeros([size]) : undefined));
	try {
		for (const mine of batches) {
			signal?.throwIfAborted();
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
		const gradients = sums.map((sum, i) => (reached.has(i) ? sum : undefined));
		const { shares, gradNorm } = await readBack(losses, gradients);
		const nonFinite = batches.filter((_, i) => !Number.isFinite(shares[i])).flatMap((mine) => mine.flatMap(({ examples }) => examples));
		disposeGradients(sums.map((sum, i) => (reached.has(i) ? undefined : sum)));
		const tokens = rows.reduce((n, { encoded }) => n + encoded.inputIds.length, 0);
		const positions = batches.reduce((n, mine) => n + paddedSize(mine), 0);
		return { gradients, loss: shares.reduce((sum, share) => sum + share, 0), gradNorm, nonFinite, tokens, positions };
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
