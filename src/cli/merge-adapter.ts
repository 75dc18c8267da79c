/** `merge-adapter`: a LoRA adapter and its base to one checkpoint. */
import { resolve } from "node:path";
import { mergeAdapter } from "../index.js";
import { defineCommand } from "./define-command.js";
import { mergeAdapterOptions } from "./options.js";
import { claimOutputs, clearOutputs } from "./outputs.js";
import { chooseQuestion, keepQuestion } from "./question.js";
import type { Session } from "./session.js";

export const mergeAdapterCommand = (session: Session) =>
	defineCommand({
		name: "merge-adapter",
		summary: "add a LoRA adapter to its base: a checkpoint that needs no adapter",
		schema: mergeAdapterOptions,
		example: "tfjs-rft merge-adapter --adapter checkpoint --save_path merged",
		async action({ adapter, pretrain: base, save_path: savePath, backend, overwrite }) {
			await claimOutputs([savePath], base === undefined ? [adapter] : [adapter, base], overwrite);
			const question = await chooseQuestion({}, adapter, session);
			await clearOutputs({ checkpoint: savePath });
			await mergeAdapter(adapter, savePath, { base, backend });
			keepQuestion(question, savePath);
			session.print(`merged checkpoint in ${resolve(savePath)}`);
		},
	});
