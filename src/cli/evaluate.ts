/** `evaluate`: how often a judge is right on held-out pairs, by greedy decoding. */
import { joinWorkers } from "../index.js";
import { defineCommand } from "./define-command.js";
import { evaluationTable, scoreHeldOut } from "./held-out.js";
import { endWithLauncher, launchWorkers } from "./launch-workers.js";
import { openSampler } from "./open-judge.js";
import { type EvaluateOptions, evaluateOptions } from "./options.js";
import { chooseQuestion } from "./question.js";
import { surveyRecords } from "./records.js";
import { quietSession, type Session } from "./session.js";

export const evaluateCommand = (session: Session) =>
	defineCommand({
		name: "evaluate",
		summary: "measure a judge on held-out pairs",
		schema: evaluateOptions,
		example: 'tfjs-rft evaluate --model_path checkpoint --data_path "hpdv3:heldout.json"',
		async action(options) {
			if (options.processes > 1) return launchWorkers(options.processes, session, "evaluate", "Start it again");
			return options.workers ? evaluateAsWorker(options, session) : score(options, session);
		},
	});

/** One of several processes, each with its share of the pairs: what the others print would be the same again. */
async function evaluateAsWorker(options: EvaluateOptions, session: Session): Promise<void> {
	endWithLauncher();
	const { workers = [], rank = 0, backend, ddp_timeout: timeout } = options;
	const join = () => joinWorkers({ workers, rank, backend, timeout, signal: session.signal });
	await score(options, rank === 0 ? session : quietSession(session), join);
}

async function score(options: EvaluateOptions, session: Session, join?: () => ReturnType<typeof joinWorkers>): Promise<void> {
	const promptTemplate = await chooseQuestion(options, options.adapter ?? options.model_path, session);
	const records = await surveyRecords(options, session);
	const workers = await join?.();
	try {
		await using model = await openSampler(options.model_path, options, session);
		const evaluation = await scoreHeldOut(model, records, promptTemplate, options, "evaluate", session, workers);
		session.print(options.json ? JSON.stringify(evaluation, null, 2) : evaluationTable({ [options.model_path]: evaluation }));
		await workers?.leave();
	} finally {
		workers?.abandon();
	}
}
