/**
 * What a run learns: how a row becomes an example, what of a micro-batch is the loss, and what is reported beside it. The loop (trainer.ts) is the
 * same for all. Supervised fine-tuning (supervised.ts) is one, direct preference optimization (dpo.ts) another.
 *
 * Legend: N labelled tokens of a micro-batch, C channels.
 */
import type { Tensor1D, Tensor2D, Variable } from "../backend/tf.js";
import type { PrepareOptions, Processor, TrainableModel } from "../model/generative-model.js";
import type { DroppedRow, TrainingExample, TrainingRow } from "./collate.js";
import type { LabelledTokens } from "./labelled-batch.js";
import type { HeadGradients } from "./loss.js";
import type { StateTensor } from "./optimizer-state.js";
import type { TrainingRowOfBatch } from "./pack-examples.js";
import type { ReferenceOptions } from "./reference-log-probs.js";
import type { TrainingEvent } from "./training-events.js";

/** How rows are read. */
export interface RowReading {
	/** Images are relative to it and may not lie outside. Default: paths as they are. */
	dataRoot?: string;
	/** Most tokens of a conversation. Default: any. */
	maxLength?: number;
}

/** A micro-batch's place in its step. */
export interface BatchOptions extends PrepareOptions {
	/** What the examples of the whole step count together (`Objective.countOf`): losses of its micro-batches add up to the mean over them. */
	total: number;
}

/** What the language-model head makes of a micro-batch; all the caller's to dispose. */
export interface ObjectiveGradients extends Omit<HeadGradients, "loss"> {
	/** [1 + metrics] the batch's share of the step's loss, and of each metric: a step's shares add up to its means. */
	shares: Tensor1D;
}

/** What a run's beginning offers. */
export interface BeginOptions extends Omit<ReferenceOptions, "onProgress"> {
	onEvent: (event: TrainingEvent) => void;
}

export interface Objective {
	/** What is reported beside the loss, in the order of the shares. */
	readonly metrics: readonly string[];
	/**
	 * Before any training.
	 * @param where names the row in errors
	 * @throws for a row that contradicts itself, or is none of this objective's
	 */
	check(row: TrainingRow, where: string, dataRoot?: string): void;
	/**
	 * Tokenizes a row and preprocesses its images.
	 * @param index the row's number
	 */
	encode(row: TrainingRow, index: number, processor: Processor, reading: RowReading): Promise<TrainingExample | DroppedRow>;
	/** What an example counts in the mean over a step: its labelled tokens, say. */
	countOf(example: TrainingExample): number;
	/** A micro-batch on the device; the tensors are the caller's to dispose. */
	batch(model: TrainableModel, rows: readonly TrainingRowOfBatch[], options: BatchOptions): LabelledTokens;
	/**
	 * The loss and where it comes from, a chunk of rows at a time.
	 *
	 * @param rows [N, C] hidden states at the batch's labelled places
	 * @param batch what `batch` made
	 * @param variables those that the head may use
	 */
	head(model: TrainableModel, rows: Tensor2D, batch: LabelledTokens, variables: readonly Variable[]): ObjectiveGradients;
	/** Before the first step, with the weights that training begins with. Absent: nothing is to be known of them. */
	begin?(model: TrainableModel, options: BeginOptions): Promise<void>;
	/** What `begin` found, for a checkpoint. */
	stateTensors?(): StateTensor[];
	/** Takes up what `begin` found, instead of it. @param read the values of one tensor of `stateTensors` */
	restore?(read: (name: string) => Promise<Float32Array>): Promise<void>;
}
