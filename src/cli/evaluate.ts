/** `evaluate`: how often a judge is right on held-out pairs, by greedy decoding. */
import { defineCommand } from "./define-command.js";
import { evaluationTable, scoreHeldOut } from "./held-out.js";
import { openSampler } from "./open-judge.js";
import { evaluateOptions } from "./options.js";
import { chooseQuestion } from "./question.js";
import { surveyRecords } from "./records.js";
import type { Session } from "./session.js";

export const evaluateCommand = (session: Session) =>
	defineCommand({
		name: "evaluate",
		summary: "measure a judge on held-out pairs",
		schema: evaluateOptions,
		example: 'tfjs-rft evaluate --model_path checkpoint --data_path "hpdv3:heldout.json"',
		async action(options) {
			const promptTemplate = await chooseQuestion(options, options.adapter ?? options.model_path, session);
			const records = await surveyRecords(options, session);
			await using model = await openSampler(options.model_path, options, session);
			const evaluation = await scoreHeldOut(model, records, promptTemplate, options, "evaluate", session);
			session.print(options.json ? JSON.stringify(evaluation, null, 2) : evaluationTable({ [options.model_path]: evaluation }));
		},
	});
