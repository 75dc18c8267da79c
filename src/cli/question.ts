/** What the judge is asked: a file, a text, the checkpoint's own prompt.txt, or the library's question. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fillTemplate, readPromptTemplate } from "../index.js";
import type { QuestionOptions } from "./options.js";
import type { Session } from "./session.js";
import { UsageError } from "./usage-error.js";

/** A checkpoint may carry the question that it was trained on. */
const PROMPT_FILE = "prompt.txt";

/**
 * @returns the template, or undefined for the library's own question.
 * @throws UsageError for a template that can't be read or has no `{prompt}`.
 */
export async function chooseQuestion(
	{ prompt_template, task_instruction }: QuestionOptions,
	checkpoint: string,
	{ note }: Session,
): Promise<string | undefined> {
	if (task_instruction !== undefined) {
		if (fillTemplate(task_instruction, "") !== task_instruction) return task_instruction;
		throw new UsageError(
			`--task_instruction: expected a text with {prompt} where the caption goes, got ${JSON.stringify(task_instruction)}`,
		);
	}
	const own = join(checkpoint, PROMPT_FILE);
	const file = prompt_template ?? (existsSync(own) ? own : undefined);
	if (file === undefined) return undefined;
	note(`question: ${file}`);
	try {
		return await readPromptTemplate(file);
	} catch (error) {
		throw new UsageError(`--prompt_template ${file}: ${(error as Error).message}`);
	}
}

/** A fine-tuned checkpoint carries the question on, so that it is asked what it was trained on. */
export function keepQuestion(template: string | undefined, checkpoint: string): void {
	if (template !== undefined) writeFileSync(join(checkpoint, PROMPT_FILE), template);
}
