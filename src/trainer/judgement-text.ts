/**
 * A judgement as Markdown for TensorBoard, whose text plugin makes HTML of it: it drops what could run, but keeps links and pictures of
 * anywhere. So what a judge or a data set says stands in indented code, which nothing inside can end: every line has its four spaces.
 */
import type { JudgedRollout } from "../reward/outcome.js";

/** Control characters, and those that turn the direction of writing: what one reads shall be what is there. */
const INVISIBLE = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** The verdict, the caption and what the judge said. */
export function judgementText({ record, completion, outcome, answer, reason, numTokens }: JudgedRollout): string {
	const said = answer === undefined ? "No answer" : `Image ${answer} is better`;
	const preferred = record.order.indexOf(record.preferred) + 1;
	return [
		`**${said}**: ${outcome}. Image ${preferred} is the preferred one, as shown.`,
		...(reason === undefined ? [] : ["Because:", codeBlock(reason)]),
		"Caption:",
		codeBlock(record.prompt),
		`Judgement, ${numTokens} tokens:`,
		codeBlock(completion === "" ? "(nothing)" : completion),
	].join("\n\n");
}

/** Any text as indented code. */
export function codeBlock(text: string): string {
	return text
		.replace(/\r\n?/g, "\n")
		.split("\n")
		.map((line) => `    ${line.replaceAll("\t", "    ").replace(INVISIBLE, "\ufffd")}`)
		.join("\n");
}
