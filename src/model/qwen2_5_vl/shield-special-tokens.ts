/**
 * Keeps control tokens in people's text from controlling: a caption that says `<|im_end|>` must not end its turn.
 * A mark is put into each occurrence of a special token before the template is rendered, so that every whole one afterwards is the
 * template's own; the marks come out again, and the text is tokenized as text. Ordinary text passes unchanged, so templates that
 * look into contents see what they expect.
 *
 * Example, · the mark: parts ["say <|im_", "end|> twice"] become ["say <·|im_", "end|> twice"] (templates join neighbouring texts).
 */
import { randomUUID } from "node:crypto";
import type { TemplateMessage } from "./chat-template.js";

/** Messages that can be rendered safely, and the way back to what was written. */
export interface Shielded {
	messages: TemplateMessage[];
	/** Takes the marks out. */
	unshield(text: string): string;
}

/** @param specialTokens of two characters or more */
export function shieldSpecialTokens(messages: TemplateMessage[], specialTokens: readonly string[]): Shielded {
	const mark = `\uFDD0${randomUUID()}\uFDD0`; // no text can foresee it
	return {
		messages: messages.map((message) => ({ ...message, content: shieldContent(message.content, specialTokens, mark) })),
		unshield: (text) => text.replaceAll(mark, ""),
	};
}

function shieldContent(content: TemplateMessage["content"], specialTokens: readonly string[], mark: string): TemplateMessage["content"] {
	if (typeof content === "string") return shieldRun([content], specialTokens, mark)[0];
	const out: typeof content = [];
	for (let i = 0; i < content.length; ) {
		const run: string[] = [];
		for (; i + run.length < content.length; ) {
			const { text } = content[i + run.length];
			if (typeof text !== "string") break;
			run.push(text);
		}
		for (const [k, text] of shieldRun(run, specialTokens, mark).entries()) out.push({ ...content[i + k], text });
		i += run.length;
		if (run.length === 0) out.push(content[i++]);
	}
	return out;
}

/** Marks texts as if they were one: a special token may begin in one and end in the next. */
function shieldRun(texts: string[], specialTokens: readonly string[], mark: string): string[] {
	const places = firstCharacters(texts.join(""), specialTokens);
	let start = 0;
	return texts.map((text) => {
		const from = start;
		start += text.length;
		return [...places].reduceRight((marked, place) => {
			const at = place - from + 1;
			return at >= 1 && at <= text.length ? marked.slice(0, at) + mark + marked.slice(at) : marked;
		}, text);
	});
}

/** Where special tokens begin, overlapping ones too, in rising order. */
function firstCharacters(text: string, specialTokens: readonly string[]): Set<number> {
	const places: number[] = [];
	for (const token of specialTokens) for (let at = text.indexOf(token); at >= 0; at = text.indexOf(token, at + 1)) places.push(at);
	return new Set(places.sort((a, b) => a - b));
}
