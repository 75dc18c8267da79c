/** Supervised fine-tuning: the assistants' tokens of conversations are imitated, each counting the same. */
import { reshape, type Tensor1D, type Tensor2D, type Variable } from "../backend/tf.js";
import type { Processor, TrainableModel } from "../model/generative-model.js";
import { countLabels, encodeRow, type TrainingConversation, type TrainingExample, type TrainingRow } from "./collate.js";
import { conversationMessages } from "./conversation-messages.js";
import { type LabelledBatch, labelledBatch } from "./labelled-batch.js";
import { headGradients } from "./loss.js";
import type { BatchOptions, Objective, ObjectiveGradients, RowReading } from "./objective.js";
import type { TrainingRowOfBatch } from "./pack-examples.js";
import { isPair } from "./preference-pair.js";

export interface SupervisedOptions {
	/** Of labels; see sumCrossEntropy. Default 0. */
	labelSmoothing?: number;
}

export class Supervised implements Objective {
	readonly metrics = [];

	constructor(private readonly options: SupervisedOptions = {}) {}

	check(row: TrainingRow, where: string, dataRoot?: string): void {
		if (isPair(row))
			throw new Error(`${where}: a pair of answers; expected a conversation, or the option dpo (--stage dpo) to learn from pairs`);
		if (typeof row === "object" && "conversations" in row) conversationMessages(row, where, dataRoot);
	}

	async encode(row: TrainingRow, index: number, processor: Processor, reading: RowReading) {
		const conversation = typeof row === "function" ? await row() : (row as TrainingConversation); // checked
		return encodeRow(conversation, index, processor, reading);
	}

	countOf({ encoded }: TrainingExample): number {
		return countLabels(encoded);
	}

	batch(model: TrainableModel, rows: readonly TrainingRowOfBatch[], { total, ...options }: BatchOptions): LabelledBatch {
		return labelledBatch(model, rows, { labelTokens: total, ...options });
	}

	head(model: TrainableModel, rows: Tensor2D, batch: LabelledBatch, variables: readonly Variable[]): ObjectiveGradients {
		const smoothing = this.options.labelSmoothing;
		const head = (some: Tensor2D) => model.lmHead(some);
		const { loss, ...gradients } = headGradients(head, rows, batch.targets, batch.weights, variables, { smoothing });
		return { shares: reshape(loss, [1]) as Tensor1D, ...gradients };
	}
}
