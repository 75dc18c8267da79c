/** Records of the fixture's images, and a judge that answers from what it was shown. */
import { resolve } from "node:path";
import type { PreferenceRecord } from "../../src/dataset/preference-record.js";
import type { Message } from "../../src/model/generative-model.js";

const image = (name: string) => resolve("test/fixtures/hpdv3/images", name);
export const BETTER = image("two-red-circles.png");
export const WORSE = image("one-red-circle.jpg");

/** Record `i`; the preferred image is stored first in even records and second in odd ones, and swapped when shown in every third. */
export function record(i: number, overrides: Partial<PreferenceRecord> = {}): PreferenceRecord {
	const preferred = i % 2 === 0 ? 0 : 1;
	return {
		key: `key-${i}`,
		prompt: `caption ${i} ${"word ".repeat(i % 5)}`.trim(),
		images: preferred === 0 ? [BETTER, WORSE] : [WORSE, BETTER],
		preferred,
		order: i % 3 === 0 ? [1, 0] : [0, 1],
		source: { name: "hpdv3", file: "pairs.json", row: i },
		...overrides,
	};
}

export const records = (count: number): PreferenceRecord[] => Array.from({ length: count }, (_, i) => record(i));

/** The images of a question, in the order in which they are shown. */
export function shownIn(conversation: Message[]): string[] {
	const { content } = conversation[0];
	return typeof content === "string"
		? []
		: content.flatMap((part) => (part.type === "image" && typeof part.image === "string" ? [part.image] : []));
}

/** The text of a question, without its images. */
export function textOf(conversation: Message[]): string {
	const { content } = conversation[0];
	return typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

export const judgement = (answer: 1 | 2, reasoning = "They differ.") =>
	`<think>${reasoning}</think><answer>Image ${answer} is better</answer>`;

/** Always right, whatever the order: it knows the better file. */
export const rightAnswer = (conversation: Message[]) => judgement(shownIn(conversation)[0] === BETTER ? 1 : 2);
