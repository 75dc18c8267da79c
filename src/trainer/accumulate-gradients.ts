/**
 * One step's gradients: forward and backward over micro-batches, added up, with one read-back at the end.
 * The event loop gets a turn between micro-batches.
 */
import { setImmediate } from "node:timers/promises";
import { concat, reshape, type Scalar, sqrt, type Tensor1D, tidy } from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import { squaredGradNorm } from "./clip-grad-norm.js";
import { collateExamples, countLabels, type TrainingExample } from "./collate.js";
import { addGradients, lossAndGradients } from "./loss.js";
import type { FlatGradients, ParameterBucket } from "./parameter-buckets.js";

export interface AccumulateOptions {
	/** Examples per forward pass. */
	microTrainBatchSize: number;
	/** The layout of the gradients. */
	buckets: readonly ParameterBucket[];
	/** See ForwardOptions. Default false. */
	gradientCheckpointing?: boolean;
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
}

/** @throws the signal's reason, with nothing left allocated. */
export async function accumulateGradients(
	model: TrainableModel,
	examples: readonly TrainingExample[],
	{ microTrainBatchSize, buckets, gradientCheckpointing, signal }: AccumulateOptions,
): Promise<AccumulatedGradients> {
	const labelTokens = examples.reduce((n, example) => n + countLabels(example.encoded), 0);
	const losses: Scalar[] = [];
	let gradients: FlatGradients = buckets.map(() => undefined);
	try {
		for (let from = 0; from < examples.length; from += microTrainBatchSize) {
			signal?.throwIfAborted();
			const batch = collateExamples(examples.slice(from, from + microTrainBatchSize), model.processor);
			const micro = lossAndGradients(model, batch, labelTokens, buckets, { gradientCheckpointing });
			losses.push(micro.loss);
			gradients = addGradients(gradients, micro.gradients);
			await setImmediate();
		}
		const { shares, gradNorm } = await readBack(losses, gradients);
		const nonFinite = examples.filter((_, i) => !Number.isFinite(shares[Math.floor(i / microTrainBatchSize)]));
		return { gradients, loss: shares.reduce((sum, share) => sum + share, 0), gradNorm, nonFinite };
	} catch (error) {
		disposeGradients(gradients);
		throw error;
	} finally {
		for (const loss of losses) loss.dispose();
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
