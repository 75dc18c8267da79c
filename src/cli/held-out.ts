/** Scores a judge on held-out pairs, and the table that people read. */
import Table from "cli-table3";
import {
	drawJudgements,
	type Evaluate,
	type Evaluation,
	evaluate,
	formatProportion,
	type GenerativeModel,
	generateCoT,
	generateTogether,
	type JudgedRollout,
	OUTCOMES,
	type PreferenceRecord,
	type WorkerGroup,
} from "../index.js";
import { guidingOptions } from "./guiding.js";
import type { EvaluateOptions, GuidingOptions } from "./options.js";
import type { SurveyedRecords } from "./records.js";
import type { Session } from "./session.js";

export interface AskingOptions
	extends Pick<EvaluateOptions, "batch_size" | "max_new_tokens" | "use_cot" | "seed">,
		Partial<GuidingOptions> {
	/** Given each judgement with what became of it. */
	onJudged?: (judgement: JudgedRollout) => void;
}

/**
 * @param name of the stage, for its bar
 * @param workers those that judge a share each, all with the same result. Default: this process judges all.
 * @throws the signal's reason; otherwise as evaluate does
 */
export async function scoreHeldOut(
	model: GenerativeModel,
	{ records, count }: SurveyedRecords,
	promptTemplate: string | undefined,
	options: AskingOptions,
	name: string,
	session: Session,
	workers?: WorkerGroup,
): Promise<Evaluation> {
	const { batch_size: batchSize, max_new_tokens: maxNewTokens, use_cot: useCot, seed, onJudged } = options;
	const share = workers ? Math.ceil((count - workers.rank) / workers.size) : count;
	const stage = session.stage(name, share);
	const { signal } = session;
	const judge = (own: AsyncIterable<PreferenceRecord>) =>
		generateCoT(own, model, {
			...{ batchSize, maxNewTokens, useCot, seed, promptTemplate, temperature: 0, signal },
			...guidingOptions(options),
			onProgress: ({ done, tokensPerSecond }) => stage.update(done, share, `${tokensPerSecond.toFixed(0)} tokens/s`),
		});
	try {
		return await evaluate(workers ? generateTogether(records, workers, judge, signal) : judge(records), { useCot, onJudged });
	} finally {
		stage.end();
	}
}

/** @param shown pairs whose judgements go to the log of the training, the same each time. @returns what a trainer asks between steps */
export function scoreWhileTraining(
	heldOut: SurveyedRecords,
	question: string | undefined,
	asking: AskingOptions,
	shown: number,
	session: Session,
	workers?: WorkerGroup,
): Evaluate {
	return async (model, step) => {
		const drawn = drawJudgements(shown);
		const named = { ...asking, onJudged: drawn.add };
		const { accuracy, parseRate, saysImage1 } = await scoreHeldOut(model, heldOut, question, named, `evaluate ${step}`, session, workers);
		return { scores: { accuracy, parseRate, saysImage1 }, judgements: drawn.judgements() };
	};
}

const percent = (share: number) => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);

/** Of the verdicts' probabilities, where an evaluation has them. */
function scoreRows(evaluations: readonly Evaluation[]): [string, (evaluation: Evaluation) => string][] {
	if (evaluations.every(({ scores }) => scores === undefined)) return [];
	const number = (value: number | undefined) => (value === undefined || Number.isNaN(value) ? "–" : value.toFixed(3));
	const kinds = [
		["P(Image 1)", "rollouts"],
		["both orders averaged", "pairs"],
	] as const;
	return kinds.flatMap(([label, kind]): [string, (evaluation: Evaluation) => string][] => [
		[`${label}: likelier one right`, ({ scores }) => (scores ? formatProportion(scores[kind].accuracy) : "–")],
		[`${label}: AUC`, ({ scores }) => number(scores?.[kind].auc)],
		[`${label}: calibration error (ECE)`, ({ scores }) => number(scores?.[kind].ece)],
		[`${label}: Brier score`, ({ scores }) => number(scores?.[kind].brier)],
	]);
}

const NO_RULES_BETWEEN_ROWS = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" };

/** One column of numbers per evaluation. */
export function evaluationTable(columns: Readonly<Record<string, Evaluation>>): string {
	const evaluations = Object.values(columns);
	const row = (label: string, cell: (evaluation: Evaluation) => string | number) => [label, ...evaluations.map(cell)];
	const table = new Table({
		head: ["", ...Object.keys(columns)],
		style: { head: [], border: [] },
		chars: NO_RULES_BETWEEN_ROWS,
		colAligns: ["left", ...evaluations.map(() => "right" as const)],
	});
	table.push(
		row("accuracy, 95 % interval", ({ accuracy, ci }) => `${percent(accuracy)} (${ci.map((end) => (100 * end).toFixed(1)).join("–")})`),
		row("parsed", ({ parseRate }) => percent(parseRate)),
		row("says “Image 1”", ({ saysImage1 }) => percent(saysImage1)),
		row("accuracy, preferred shown first", ({ perOrder }) => formatProportion(perOrder.preferredFirst.accuracy)),
		row("accuracy, preferred shown second", ({ perOrder }) => formatProportion(perOrder.preferredSecond.accuracy)),
		row("tokens per judgement", ({ meanTokens }) => meanTokens.toFixed(1)),
		row("judgements", ({ n }) => n),
		...OUTCOMES.filter((outcome) => evaluations.some(({ outcomes }) => outcomes[outcome] > 0)).map((outcome) =>
			row(`  ${outcome}`, ({ outcomes }) => outcomes[outcome]),
		),
		...scoreRows(evaluations).map(([label, cell]) => row(label, cell)),
	);
	return table.toString();
}
