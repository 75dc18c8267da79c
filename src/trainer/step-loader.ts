/**
 * Which rows a step trains on, and their encoding one step ahead of training.
 *
 * The order of an epoch is a shuffle seeded by (seed, epoch) alone (with rows of like length put together where asked for), so step k means the same rows whether a run went straight there
 * or was resumed. In memory are the rows (text and paths) and the encoded examples of two steps: images are read again each epoch.
 * A dropped row makes its step smaller; the number of steps never changes.
 */
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { stopTogether } from "../backend/cluster/stop-together.js";
import { type DroppedRow, longestOf, type TrainingExample } from "./collate.js";
import type { Summing } from "./gradient-exchange.js";
import { groupByLength } from "./length-groups.js";

/** Encodes a row, by its number. */
export type EncodeRow = (row: number) => Promise<TrainingExample | DroppedRow>;

export interface StepLoaderOptions {
	/** Rows in all. */
	rows: number;
	/** Rows per step; an epoch's last step may have fewer. */
	trainBatchSize: number;
	seed: number;
	/** Tokens of each row: those of like length are put into a step together. Default: any. */
	lengths?: readonly number[];
	/** Of several processes this one's number, and how many there are: it gets each step's rows `rank`, `rank + size`, … Default: all rows. */
	share?: { rank: number; size: number };
	/** The first step to load, and the one to stop before. */
	firstStep: number;
	totalSteps: number;
}

export interface LoadedStep {
	step: number;
	/** From 0. */
	epoch: number;
	/** Longest last, so that neighbours in a micro-batch need little padding. */
	examples: TrainingExample[];
	dropped: DroppedRow[];
}

/** Yields the steps' examples; while the caller works on one step, the next is being encoded. */
export async function* loadSteps(
	encode: EncodeRow,
	{ rows, firstStep, totalSteps, trainBatchSize, seed, lengths, share = { rank: 0, size: 1 } }: StepLoaderOptions,
): AsyncGenerator<LoadedStep> {
	const stepsPerEpoch = Math.ceil(rows / trainBatchSize);
	let order: { epoch: number; indices: number[] } | undefined; // of the epoch under way: steps are started in order
	let next: Promise<LoadedStep> | undefined;
	const start = (step: number) => {
		next = undefined;
		if (step >= totalSteps) return;
		const epoch = Math.floor(step / stepsPerEpoch);
		if (order?.epoch !== epoch) {
			const shuffled = shuffledIndices(rows, seed, epoch);
			order = { epoch, indices: lengths ? groupByLength(shuffled, lengths, trainBatchSize) : shuffled };
		}
		const from = (step % stepsPerEpoch) * trainBatchSize;
		const chosen = order.indices.slice(from, from + trainBatchSize).filter((_, i) => i % share.size === share.rank);
		next = loadStep(encode, { step, epoch, chosen });
		next.catch(() => undefined); // reported where it is awaited; unhandled until then otherwise
	};
	start(firstStep);
	try {
		while (next) {
			const current = await next;
			start(current.step + 1);
			yield current;
		}
	} finally {
		await Promise.allSettled([next]);
	}
}

async function loadStep(
	encode: EncodeRow,
	{ step, epoch, chosen }: { step: number; epoch: number; chosen: readonly number[] },
): Promise<LoadedStep> {
	const encoded = await Promise.all(chosen.map(encode));
	const examples: TrainingExample[] = [];
	const dropped: DroppedRow[] = [];
	for (const one of encoded) "encoded" in one ? examples.push(one) : dropped.push(one);
	examples.sort((a, b) => longestOf(a) - longestOf(b) || a.row - b.row);
	return { step, epoch, examples, dropped };
}

/** Tokens of each row, 0 where it can't be trained on: each is encoded once, and its images read, before the first step; by one of the processes. */
export async function measureLengths(encode: EncodeRow, rows: number, workers: Summing, signal?: AbortSignal): Promise<number[]> {
	const lengths: number[] = Array.from({ length: rows }, () => 0);
	await stopTogether(workers, signal, async () => {
		for (let row = workers.rank; row < rows; row += workers.size) {
			signal?.throwIfAborted();
			const one = await encode(row);
			if ("encoded" in one) lengths[row] = longestOf(one);
		}
	});
	return workers.sum(lengths);
}

/** Fisher–Yates over 0 … n − 1; the same for the same (seed, epoch), whatever else draws random numbers. */
export function shuffledIndices(n: number, seed: number, epoch: number): number[] {
	// 0x9e3779b9, the golden ratio's fraction in 32 bits, sets neighbouring epochs' seeds far apart.
	const random = xoroshiro128plus((seed + Math.imul(epoch, 0x9e3779b9)) | 0);
	const indices = Array.from({ length: n }, (_, i) => i);
	for (let i = n - 1; i > 0; i--) {
		const j = uniformInt(random, 0, i);
		[indices[i], indices[j]] = [indices[j], indices[i]];
	}
	return indices;
}
