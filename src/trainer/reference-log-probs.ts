/**
 * How likely each pair's answers are before training, for DPO: one pass over all rows with the weights that training begins with (TRL's
 * `precompute_ref_log_probs`), so that no second model is in memory. An adapter that is new changes nothing yet and one that is
 * trained further counts as it is, both as TRL has it; nothing is dropped here.
 */
import { setImmediate } from "node:timers/promises";
import { stopTogether } from "../backend/cluster/stop-together.js";
import { compile } from "../backend/graph/compile.js";
import { dispose, tidy } from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import type { Summing } from "./gradient-exchange.js";
import { labelledStates } from "./labelled-batch.js";
import { MAX_SIGNATURES } from "./micro-step.js";
import { type PairBatch, type PairExample, pairBatch } from "./pair-batch.js";
import { sumByAnswer } from "./preference-loss.js";
import type { LoadedStep } from "./step-loader.js";
import { tokenLogProbs } from "./token-log-probs.js";

export interface ReferenceOptions {
	/** Rows in all. */
	rows: number;
	/** Each row once; of several processes this one's share. */
	steps: AsyncIterable<LoadedStep>;
	/** Pairs per forward pass. */
	microTrainBatchSize: number;
	eager: boolean;
	workers: Summing;
	signal?: AbortSignal;
	/** Called with the rows that are done, of this process's. */
	onProgress?: (rows: number) => void;
}

/** @returns [rows · 2] of each row its chosen and its rejected answer's; NaN where the row can't be trained on */
export async function referenceLogProbs(
	model: TrainableModel,
	{ rows, steps, microTrainBatchSize, eager, workers, signal, onProgress }: ReferenceOptions,
): Promise<Float32Array> {
	const ofBatch = (batch: PairBatch) =>
		tidy(() =>
			sumByAnswer(
				tokenLogProbs((some) => model.lmHead(some), labelledStates(model, batch), batch.targets),
				batch.members,
			),
		);
	const compiled = compile(ofBatch, { name: "reference", trace: true, maxSignatures: MAX_SIGNATURES });
	const run = async (batch: PairBatch) => (eager ? ofBatch(batch) : compiled.runAsync([batch]));
	const found = new Float32Array(2 * rows).fill(Number.NaN);
	let done = 0;
	const ofOwnRows = async () => {
		for await (const { examples, dropped } of steps) {
			for (let from = 0; from < examples.length; from += microTrainBatchSize) {
				signal?.throwIfAborted();
				const pairs = examples.slice(from, from + microTrainBatchSize) as PairExample[];
				const batch = pairBatch(model, pairs, { total: 1, referenceOf: () => [0, 0] });
				const logProbs = await run(batch).finally(() => dispose(batch));
				const values = await logProbs.data();
				logProbs.dispose();
				for (const [i, { row }] of pairs.entries()) found.set([values[i], values[pairs.length + i]], 2 * row);
				await setImmediate();
			}
			done += examples.length + dropped.length;
			onProgress?.(done);
		}
	};
	try {
		await stopTogether(workers, signal, ofOwnRows);
		return await shareAmong(workers, found);
	} finally {
		compiled.dispose();
	}
}

/** What is NaN here may be known to another process. */
async function shareAmong(workers: Summing, found: Float32Array): Promise<Float32Array> {
	if (workers.size === 1) return found;
	const known = Array.from(found, (value) => (Number.isNaN(value) ? 0 : 1));
	const sums = await workers.sum([...Array.from(found, (value) => (Number.isNaN(value) ? 0 : value)), ...known]);
	return Float32Array.from(found, (_, i) => (sums[found.length + i] > 0 ? sums[i] : Number.NaN));
}
