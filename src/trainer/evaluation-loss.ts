/**
 * The loss of held-out conversations: the mean negative log-likelihood of their labelled tokens, each token counted alike whatever its
 * conversation and batch (transformers' eval_loss is a mean of batches' means). No smoothing, no noise, no dropout: nats, and comparable between runs.
 *
 * Rows are looked at once when it is opened (which can be used, how long they are) and read again at each measuring, longest first, so that
 * neighbours need little padding. A batch's loss is a graph per shape, as a micro-step is, without a backward pass.
 */
import { setImmediate } from "node:timers/promises";
import { stopTogether } from "../backend/cluster/stop-together.js";
import { type Compiled, compile } from "../backend/graph/compile.js";
import { dispose, mul, neg, type Scalar, sum, tidy } from "../backend/tf.js";
import type { TrainableModel } from "../model/generative-model.js";
import { countLabels, type DroppedRow, encodeRow, nameRow, type TrainingConversation, type TrainingExample } from "./collate.js";
import { ALONE, type Summing } from "./gradient-exchange.js";
import { type LabelledBatch, labelledBatch, labelledStates } from "./labelled-batch.js";
import { MAX_SIGNATURES } from "./micro-step.js";
import { tokenLogProbs } from "./token-log-probs.js";

/** A conversation, or a function that makes one each time it is needed. */
export type HeldOutConversation = TrainingConversation | (() => TrainingConversation | Promise<TrainingConversation>);

export interface EvaluationLossOptions {
	dataRoot?: string;
	/** A longer conversation is left out, never cut. */
	maxLength?: number;
	/** Conversations per forward pass: the result is the same. Default 1. */
	batchSize?: number;
	/** Run op by op, without graphs. Default false. */
	eager?: boolean;
	/** Each takes its share of the conversations, all get the same loss. Default: one process alone. */
	workers?: Summing;
	/** Checked between batches, where there are no other processes. */
	signal?: AbortSignal;
	/** Given each row that can't be used. */
	onDropped?: (row: DroppedRow) => void;
}

interface HeldOutRow {
	row: HeldOutConversation;
	index: number;
	length: number;
}

export class EvaluationLoss {
	private readonly pass: Compiled<[LabelledBatch], Scalar> | ((batch: LabelledBatch) => Scalar);

	private constructor(
		private readonly model: TrainableModel,
		private readonly rows: readonly HeldOutRow[],
		private readonly labelTokens: number,
		private readonly options: EvaluationLossOptions,
	) {
		const loss = (batch: LabelledBatch) => batchLoss(model, batch);
		this.pass = options.eager
			? (batch) => tidy(() => loss(batch))
			: compile(loss, { name: "evaluation_loss", trace: true, maxSignatures: MAX_SIGNATURES });
	}

	/** @throws where no row can be used, and for a row that contradicts itself; the signal's reason */
	static async open(
		model: TrainableModel,
		source: Iterable<HeldOutConversation> | AsyncIterable<HeldOutConversation>,
		options: EvaluationLossOptions = {},
	): Promise<EvaluationLoss> {
		const { workers = ALONE, signal, onDropped } = options;
		const rows: HeldOutRow[] = [];
		let [index, labels] = [0, 0];
		await stopTogether(workers, signal, async () => {
			for await (const row of source) {
				const mine = index % workers.size === workers.rank;
				const number = index++;
				if (!mine) continue;
				signal?.throwIfAborted();
				const one = await encodeHeldOut(model, row, number, options);
				if ("encoded" in one) {
					rows.push({ row, index: number, length: one.encoded.inputIds.length });
					labels += countLabels(one.encoded);
				} else onDropped?.(one);
			}
		});
		const [labelTokens] = await workers.sum([labels]);
		if (labelTokens === 0) throw new Error(`evalDataset: expected at least one conversation with an answer, got none in ${index} rows`);
		rows.sort((a, b) => b.length - a.length || a.index - b.index);
		return new EvaluationLoss(model, rows, labelTokens, options);
	}

	/** @returns the loss in nats. @throws the signal's reason; for a row that can no longer be read */
	async measure(): Promise<number> {
		const { batchSize = 1, workers = ALONE, signal } = this.options;
		let share = 0;
		for (let from = 0; from < this.rows.length; from += batchSize) {
			if (workers.size === 1) signal?.throwIfAborted();
			share += await this.measureBatch(await this.read(this.rows.slice(from, from + batchSize)));
			await setImmediate();
		}
		const [loss] = await workers.sum([share]);
		return loss;
	}

	private async measureBatch(examples: readonly TrainingExample[]): Promise<number> {
		const batch = labelledBatch(this.model, examples, { labelTokens: this.labelTokens });
		let loss: Scalar | undefined;
		try {
			loss = "runAsync" in this.pass ? await this.pass.runAsync([batch]) : this.pass(batch);
			return (await loss.data())[0];
		} finally {
			dispose([batch, loss ?? []]);
		}
	}

	private read(rows: readonly HeldOutRow[]): Promise<TrainingExample[]> {
		return Promise.all(
			rows.map(async ({ row, index }) => {
				const one = await encodeHeldOut(this.model, row, index, this.options);
				if ("encoded" in one) return one;
				throw new Error(`evalDataset: ${nameRow(one)} could be used when training began and can't be now, ${one.reason}: ${one.detail}`);
			}),
		);
	}

	dispose(): void {
		if ("dispose" in this.pass) this.pass.dispose();
	}
}

async function encodeHeldOut(model: TrainableModel, row: HeldOutConversation, index: number, options: EvaluationLossOptions) {
	return encodeRow(typeof row === "function" ? await row() : row, index, model.processor, options);
}

/** The batch's share of the loss. */
function batchLoss(model: TrainableModel, batch: LabelledBatch): Scalar {
	const logProbs = tokenLogProbs((some) => model.lmHead(some), labelledStates(model, batch), batch.targets);
	return neg(sum(mul(logProbs, batch.weights))) as Scalar;
}
