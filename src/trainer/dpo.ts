/**
 * Direct preference optimization as an objective: of pairs of answers, a right and a wrong judgement, say. A step's mean is over pairs. How the loss
 * comes about: preference-loss.ts.
 *
 * Logits are made twice: without gradients for the answers' log-probabilities, which say what each pair has still to learn, then for the
 * gradient. What all of an answer's tokens have in common is known only after the last of them, and so no chunk of logits has to wait for it.
 *
 * Legend: N labelled tokens of a micro-batch, C channels.
 */
import { runAfter } from "../backend/graph/run-after.js";
import { type Tensor2D, tidy, type Variable } from "../backend/tf.js";
import type { Processor, TrainableModel } from "../model/generative-model.js";
import { type DroppedRow, nameRow, type RowName, type TrainingExample, type TrainingRow } from "./collate.js";
import { encodePair } from "./encode-pair.js";
import { headGradients } from "./loss.js";
import type { BatchOptions, BeginOptions, Objective, ObjectiveGradients, RowReading } from "./objective.js";
import type { StateTensor } from "./optimizer-state.js";
import type { TrainingRowOfBatch } from "./pack-examples.js";
import { type PairBatch, type PairExample, pairBatch } from "./pair-batch.js";
import {
	PREFERENCE_LOSSES,
	PREFERENCE_METRICS,
	type PreferenceLoss,
	type PreferenceLossOptions,
	preferenceLoss,
} from "./preference-loss.js";
import { checkPair, type PreferencePair } from "./preference-pair.js";
import { referenceLogProbs } from "./reference-log-probs.js";
import { tokenLogProbs } from "./token-log-probs.js";

/** Names in brackets are LLaMA-Factory's and TRL's. */
export interface DpoOptions {
	/** How closely the reference is kept to (`pref_beta`, `beta`); with `ipo` its τ. Default 0.1. */
	beta?: number;
	/** As TRL's `loss_type` (`pref_loss`). Default `sigmoid`. */
	loss?: PreferenceLoss;
	/** How likely a pair is to be labelled the wrong way round, from 0 to below 0.5, with `sigmoid` (`dpo_label_smoothing`). Default 0. */
	labelSmoothing?: number;
	/** Weight of imitating the chosen answers beside: their mean negative log-likelihood (`pref_ftx`). Default 0. */
	ftx?: number;
}

/** @throws RangeError */
export function resolveDpo({ beta = 0.1, loss = "sigmoid", labelSmoothing = 0, ftx = 0 }: DpoOptions): PreferenceLossOptions {
	const wrong = (name: string, got: unknown, expected: string) => new RangeError(`Trainer: dpo.${name} is ${got}; expected ${expected}`);
	if (!(beta > 0 && beta < Infinity)) throw wrong("beta", beta, "a number above 0");
	if (!PREFERENCE_LOSSES.includes(loss)) throw wrong("loss", loss, PREFERENCE_LOSSES.join(", "));
	if (!(labelSmoothing >= 0 && labelSmoothing < 0.5)) throw wrong("labelSmoothing", labelSmoothing, "a number from 0 to below 0.5");
	if (labelSmoothing > 0 && loss !== "sigmoid") throw wrong("labelSmoothing", labelSmoothing, `0 with the loss ${loss}, which has none`);
	if (!(ftx >= 0 && ftx < Infinity)) throw wrong("ftx", ftx, "a number, 0 or more");
	return { beta, loss, labelSmoothing, ftx };
}

/** One run's. */
export class Dpo implements Objective {
	readonly metrics = PREFERENCE_METRICS;
	/** [rows · 2] log-probabilities of each row's chosen and rejected answer before training; NaN where they are not known. */
	private reference: Float32Array = new Float32Array();

	constructor(private readonly options: PreferenceLossOptions) {}

	check(row: TrainingRow, where: string, dataRoot?: string): void {
		checkPair(row, where, dataRoot);
	}

	encode(row: TrainingRow, index: number, processor: Processor, reading: RowReading): Promise<TrainingExample | DroppedRow> {
		return encodePair(row as PreferencePair, index, processor, reading); // checked
	}

	countOf(): number {
		return 1;
	}

	batch(model: TrainableModel, rows: readonly TrainingRowOfBatch[], options: BatchOptions): PairBatch {
		const pairs = rows.flatMap(({ examples }) => examples) as PairExample[];
		return pairBatch(model, pairs, { ...options, referenceOf: (pair) => this.referenceOf(pair) });
	}

	head(model: TrainableModel, rows: Tensor2D, batch: PairBatch, variables: readonly Variable[]): ObjectiveGradients {
		const head = (some: Tensor2D) => model.lmHead(some);
		const { shares, weights } = tidy(() => preferenceLoss(tokenLogProbs(head, rows, batch.targets), batch, this.options));
		const later = runAfter(rows, [weights]); // a graph would otherwise take these logits for those before, and keep them
		const { loss, ...gradients } = headGradients(head, later, batch.targets, weights, variables);
		for (const tensor of [loss, weights, later]) tensor.dispose();
		return { shares, ...gradients };
	}

	async begin(model: TrainableModel, { onEvent, ...options }: BeginOptions): Promise<void> {
		const onProgress = (rows: number) => onEvent({ type: "reference", rows, totalRows: Math.ceil(options.rows / options.workers.size) });
		this.reference = await referenceLogProbs(model, { ...options, onProgress });
	}

	stateTensors(): StateTensor[] {
		if (this.reference.length === 0) return []; // stopped before it was known
		return [{ name: REFERENCE, shape: [this.reference.length], values: async () => this.reference }];
	}

	async restore(read: (name: string) => Promise<Float32Array>): Promise<void> {
		this.reference = await read(REFERENCE);
	}

	private referenceOf(name: RowName): readonly [number, number] {
		const [chosen, rejected] = this.reference.subarray(2 * name.row, 2 * name.row + 2);
		if (Number.isFinite(chosen) && Number.isFinite(rejected)) return [chosen, rejected];
		throw new Error(
			`${nameRow(name)}: its answers' log-probabilities before training are ${chosen} and ${rejected}; expected finite numbers. ` +
				"Where its images were not there when training began, begin anew",
		);
	}
}

const REFERENCE = "reference";
