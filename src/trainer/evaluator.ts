/** What is asked of a model while it trains: the caller's own scores and judgements, and the loss of held-out conversations. */
import type { TrainableModel } from "../model/generative-model.js";
import type { JudgedRollout } from "../reward/outcome.js";
import type { DroppedRow } from "./collate.js";
import { EvaluationLoss, type EvaluationLossOptions, type HeldOutConversation } from "./evaluation-loss.js";

type Scores = Readonly<Record<string, number>>;

/** Scores, and a few judgements to look at: of the same pairs each time, so that one sees them change. */
export interface JudgedScores {
	scores: Scores;
	judgements: readonly JudgedRollout[];
}

/** Scores a model, e.g. on held-out pairs, and may show some of its judgements. */
export type Evaluate = (model: TrainableModel, step: number) => Promise<Scores | JudgedScores>;

/** What an evaluation found, and how long it took. */
export interface Evaluated extends JudgedScores {
	seconds: number;
}

/** Those of the trainer's options that say how it evaluates, by their names. */
export interface EvaluatorOptions extends Pick<EvaluationLossOptions, "dataRoot" | "eager" | "workers" | "signal"> {
	evaluate?: Evaluate;
	evalDataset?: Iterable<HeldOutConversation> | AsyncIterable<HeldOutConversation>;
	/** A score that must be among those found. */
	bestMetric?: string;
	microTrainBatchSize: number;
	promptMaxLen: number;
	onEvent: (event: { type: "eval-dropped" } & DroppedRow) => void;
}

export class Evaluator {
	private constructor(
		private readonly model: TrainableModel,
		private readonly evaluate: Evaluate | undefined,
		private readonly loss: EvaluationLoss | undefined,
		private readonly bestMetric: string | undefined,
	) {}

	/** @returns nothing where nothing is asked. @throws as EvaluationLoss.open does */
	static async open(model: TrainableModel, options: EvaluatorOptions): Promise<Evaluator | undefined> {
		const { evaluate, evalDataset, dataRoot, eager, workers, signal, promptMaxLen: maxLength, microTrainBatchSize: batchSize } = options;
		if (!evaluate && !evalDataset) return undefined;
		const onDropped = (row: DroppedRow) => options.onEvent({ type: "eval-dropped", ...row });
		const reading = { dataRoot, maxLength, batchSize, eager, workers, signal, onDropped };
		const loss = evalDataset && (await EvaluationLoss.open(model, evalDataset, reading));
		return new Evaluator(model, evaluate, loss, options.bestMetric);
	}

	/** A score that is no number (a share of nothing) is left out. @throws Error where bestMetric is none of the scores */
	async run(step: number): Promise<Evaluated> {
		const started = performance.now();
		const loss = await this.loss?.measure();
		const found = (await this.evaluate?.(this.model, step)) ?? {};
		const { scores, judgements } = isJudged(found) ? found : { scores: found, judgements: [] };
		const all: Scores = { ...(loss !== undefined && { loss }), ...scores };
		if (this.bestMetric !== undefined && !(this.bestMetric in all)) {
			throw new Error(`bestMetric: ${this.bestMetric} is not among the evaluation's scores, which are ${Object.keys(all).join(", ")}`);
		}
		const numbers = Object.entries(all).filter(([, score]) => Number.isFinite(score));
		return { scores: Object.fromEntries(numbers), judgements, seconds: (performance.now() - started) / 1000 };
	}

	dispose(): void {
		this.loss?.dispose();
	}
}

const isJudged = (found: Scores | JudgedScores): found is JudgedScores => typeof found.scores === "object";
