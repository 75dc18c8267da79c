/**
 * What a judge is asked. One user message: both images, each announced by its number, then the template with the caption filled
 * in. The same text is kept for the conversation that is exported, with `<image>` where an image stood.
 */
import { readFile } from "node:fs/promises";
import type { ContentPart, Message } from "../model/generative-model.js";

const PROMPT_TOKEN = "{prompt}";
const IMAGE_TOKEN = "<image>";

const CRITERIA = `- Semantic consistency: does the image show what the caption says: the objects, their number, colours, places and relations?
- Aesthetics: composition, light, colour and sharpness; how pleasing is it to look at?
- Authenticity: does it hold together, free of distortions, artefacts, noise and impossible structure?`;

/** The default question: scores per dimension, totals, reasoning first, one answer. */
export const DEFAULT_COT_PROMPT = `Both images above were made for this caption: {prompt}

Judge which of the two is better. Compare them on three dimensions and give each image a whole-number score from 1 (worst) to 10 (best) on each:
${CRITERIA}

First think, inside <think> and </think>: look at both images, go through the dimensions one by one, say what you see in each image and give its score, then add up each image's three scores to a total.
Then give your answer, inside <answer> and </answer>, as exactly one of these two sentences: "Image 1 is better" or "Image 2 is better". Write nothing else after it. In this form:
<think>
Semantic consistency: … Image 1: 7, Image 2: 4
Aesthetics: … Image 1: 6, Image 2: 6
Authenticity: … Image 1: 8, Image 2: 5
Total: Image 1: 21, Image 2: 15
</think>
<answer>Image 1 is better</answer>`;

/** The question without reasoning. */
export const DEFAULT_NO_COT_PROMPT = `Both images above were made for this caption: {prompt}

Judge which of the two is better, on three dimensions together:
${CRITERIA}

Give only your answer, inside <answer> and </answer>, as exactly one of these two sentences: "Image 1 is better" or "Image 2 is better". In this form:
<answer>Image 1 is better</answer>`;

/** What both questions ask for, and what `parseJudgement` reads. */
export const ANSWERS = ["Image 1 is better", "Image 2 is better"] as const;

/** Reads a template from a text file (UTF-8). @throws if it can't be read, or as `checkTemplate` does. */
export async function readPromptTemplate(file: string): Promise<string> {
	const template = await readFile(file, "utf8");
	checkTemplate(template, file);
	return template;
}

/** @throws RangeError for a template without `{prompt}`, or with an `<image>` of its own (the images are put before it). */
export function checkTemplate(template: string, where = "promptTemplate"): void {
	if (!template.includes(PROMPT_TOKEN)) {
		throw new RangeError(
			`${where}: expected a text with ${PROMPT_TOKEN} where the caption goes, got ${JSON.stringify(template.slice(0, 60))}`,
		);
	}
	if (template.includes(IMAGE_TOKEN)) {
		throw new RangeError(`${where}: expected no ${IMAGE_TOKEN} (both images are shown before the text), got one; remove it`);
	}
}

/** What readers of ShareGPT take for a picture, a film or a sound, wherever it stands. */
const PLACEHOLDER = /<(image|video|audio)>/g;

/**
 * Puts the caption in the place of every `{prompt}`, literally: nothing in the caption is read as a pattern or as another
 * `{prompt}`. Only the exact text `<image>` is changed, to `< image >` (and `<video>`, `<audio>` alike): ShareGPT has no way to say it that
 * is not an image. Control tokens such as `<|im_end|>` stay: the processor reads them as the text that they are.
 */
export function fillTemplate(template: string, prompt: string): string {
	return template.split(PROMPT_TOKEN).join(prompt.replace(PLACEHOLDER, "< $1 >"));
}

/** By what to compare, where a record says it; the words are those of LightRFT's `omnirewardbench.py`. */
export function criteriaText(criteria: string | undefined): string {
	return criteria === undefined
		? ""
		: `\nPlease give your evaluation considering the following criteria: ${fillTemplate(PROMPT_TOKEN, criteria)}.`;
}

/** The judge's question as a conversation of one user message. @param images in the order in which they are shown. */
export function judgeMessages(images: readonly [string | Buffer, string | Buffer], question: string): Message[] {
	const content: ContentPart[] = [
		{ type: "text", text: "**Image 1:** " },
		{ type: "image", image: images[0] },
		{ type: "text", text: "\n**Image 2:** " },
		{ type: "image", image: images[1] },
		{ type: "text", text: `\n${question}` },
	];
	return [{ role: "user", content }];
}

/** The same message as one text, `<image>` in the place of each image. */
export function judgePromptText(question: string): string {
	return `**Image 1:** ${IMAGE_TOKEN}\n**Image 2:** ${IMAGE_TOKEN}\n${question}`;
}
