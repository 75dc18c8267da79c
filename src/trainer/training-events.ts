/** What a training run reports while it goes and when it ends; enough for a progress bar, and nothing is printed by the trainer itself. */
import type { DroppedRow, RowName } from "./collate.js";
import { nameRow } from "./collate.js";
import type { Evaluated } from "./evaluator.js";
import type { DamagedCheckpoint } from "./find-checkpoint.js";
import type { StepCost } from "./step-meter.js";

/** One optimizer step. */
export interface StepRecord {
	/** Steps made so far, this one included: 1 … totalSteps. */
	step: number;
	/** From 0. */
	epoch: number;
	/** Before the update: mean negative log-likelihood over the step's labelled tokens, in nats; with DPO its loss, the mean over pairs. */
	loss: number;
	/** With DPO: `rewards/chosen`, `rewards/rejected`, `rewards/accuracies`, `rewards/margins`, `logps/chosen` and `logps/rejected`, as TRL has them; means over the step's pairs. */
	metrics?: Record<string, number>;
	learningRate: number;
	/** L2 norm before clipping. */
	gradNorm: number;
	/** Tokens read (image tokens included, padding not), per second of this step. */
	tokensPerSecond: number;
	/** Tokens read. */
	tokens: number;
	/** Padding: the part of the computed positions that held no token, from 0 to 1. */
	padding: number;
}

/** The evaluate callback's scores after a step. */
export interface EvaluationRecord {
	step: number;
	scores: Record<string, number>;
}

export type TrainingEvent =
	/** `rows` are those trained on, by their numbers, in the order of their micro-batches. */
	| ({ type: "step"; totalSteps: number; etaSeconds: number; rows: number[] } & StepRecord & StepCost)
	/** `seconds` is what the evaluation took; `judgements` are those that `evaluate` gave. */
	| ({ type: "eval"; step: number } & Evaluated)
	/** The last evaluations brought nothing better (`earlyStoppingPatience`): no further step is made. */
	| { type: "early-stop"; step: number }
	/** A checkpoint folder is complete. */
	| { type: "checkpoint"; step: number; dir: string }
	/** A checkpoint was passed over on resuming: its files are not what was written. */
	| ({ type: "damaged-checkpoint" } & DamagedCheckpoint)
	/** Reported once per row, however many epochs meet it. */
	| ({ type: "dropped" } & DroppedRow)
	/** A row of `evalDataset` that can't be used; reported before the first step. */
	| ({ type: "eval-dropped" } & DroppedRow)
	/** A micro-batch had new shapes, and a graph was made for them; `signatures` is how many there are by now. */
	| { type: "compiled"; signatures: number }
	/** With DPO, before the first step: pairs whose answers' log-probabilities are known, of this process's. */
	| { type: "reference"; rows: number; totalRows: number }
	/** An epoch (from 0) has begun. */
	| { type: "epoch"; epoch: number; maxEpochs: number };

export interface TrainResult {
	/** Steps made, those before a resumed checkpoint included. */
	steps: number;
	/** Loss of the last step; NaN where every step's rows were dropped. */
	finalLoss: number;
	/** Every step's record. */
	history: StepRecord[];
	evaluations: EvaluationRecord[];
	/** The evaluation with the best `bestMetric`, and its checkpoint where there is a `savePath`. */
	best?: { step: number; score: number; dir?: string };
	/** Part of all computed positions that held no token, from 0 to 1. */
	padding: number;
	/** Rows that were not trained on. */
	dropped: DroppedRow[];
	/** Graphs made: the different shapes of micro-batches. 0 where training was eager. */
	signatures: number;
}

/** The loss or the gradient is not finite. The parameters are those of the last good step; no checkpoint was touched. */
export class NonFiniteLossError extends Error {
	constructor(
		/** The step that could not be made, from 1. */
		readonly step: number,
		readonly loss: number,
		readonly gradNorm: number,
		/** The rows of the micro-batches with a non-finite loss; of the whole step where only the gradient is not finite. */
		readonly rows: RowName[],
		/** The newest complete checkpoint of this run. */
		readonly lastCheckpoint?: string,
	) {
		const saved = lastCheckpoint ? `the last good checkpoint is ${lastCheckpoint}` : "no checkpoint was saved yet";
		super(
			`step ${step}: loss ${loss}, gradient norm ${gradNorm} over ${rows.map(nameRow).join(", ")}; expected finite numbers. ` +
				`Look at these rows, or lower the learning rate; ${saved}`,
		);
		this.name = "NonFiniteLossError";
	}
}
