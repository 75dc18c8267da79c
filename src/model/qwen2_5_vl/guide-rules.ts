/**
 * What guides the rows of a run: passages that rows are made to say, the tokens of the allowed answers, and the tokens that may not reach into an answer. All rows share it.
 *
 * Answers are compared as tokens, and tokens don't end where `<answer>` does: many vocabularies have one for `>Image`. So an answer's tokens are always those of its text
 * from the last token boundary at or before the end of `<answer>` ("token healing"): a passage is tokenized together with each answer, and is made to say as far as
 * all answers agree; and of the tokens that would reach over the end of `<answer>` those are forbidden that begin no answer.
 */
import { ANSWER_CLOSE, ANSWER_OPEN, CLOSING } from "../answer-form.js";
import type { AnswerOptions } from "../generative-model.js";

/** A vocabulary, as far as guiding needs it. */
export interface Vocabulary {
	/** Ids are below it. */
	size: number;
	encode(text: string): number[];
	/** What a token adds to the text; "" for a control token. */
	textOf(id: number): string;
}

/** A text that a row is made to say, and how its answers go on from there. */
export interface Passage {
	tokens: readonly number[];
	/** Per answer, the tokens after those of the passage up to the end of `</answer>`. */
	tails: readonly (readonly number[])[];
}

export class GuideRules {
	/** `</think>`, then `<answer>`. */
	readonly closing: Passage;
	/** `<answer>`, at a row's beginning. */
	readonly opening: Passage;
	private readonly forbidden = new Map<string, ReadonlySet<number>>();
	private readonly texts = new Map<number, string>();

	constructor(
		private readonly vocabulary: Vocabulary,
		readonly answers: AnswerOptions,
		/** Tokens after which reasoning is closed. */
		readonly thinkingBudget: number | undefined,
	) {
		this.closing = this.passage(CLOSING);
		this.opening = this.passage(ANSWER_OPEN);
	}

	textOf(id: number): string {
		const known = this.texts.get(id);
		if (known !== undefined) return known;
		const text = this.vocabulary.textOf(id);
		this.texts.set(id, text);
		return text;
	}

	/** The tokens of `before` with each answer, to the end of `</answer>`. */
	tailsAfter(before: string): number[][] {
		return this.answers.texts.map((text) => this.vocabulary.encode(`${before}${text}${ANSWER_CLOSE}`));
	}

	/** What is left of the answers that begin with `said`. */
	tailsOf(said: string): number[][] {
		const possible = this.answers.texts.filter((text) => text.startsWith(said));
		return possible.map((text) => this.vocabulary.encode(`${text.slice(said.length)}${ANSWER_CLOSE}`));
	}

	/** Tokens after which `<answer>` would be followed by the beginning of no answer. @param pending the end of the row's text, as far as it may become an `<answer>` */
	forbiddenAfter(pending: string): ReadonlySet<number> {
		const known = this.forbidden.get(pending);
		if (known) return known;
		const found = new Set<number>();
		for (let id = 0; id < this.vocabulary.size; id++) if (this.overruns(pending + this.vocabulary.textOf(id))) found.add(id);
		this.forbidden.set(pending, found);
		return found;
	}

	private overruns(text: string): boolean {
		const at = text.indexOf(ANSWER_OPEN);
		if (at < 0) return false;
		const said = text.slice(at + ANSWER_OPEN.length);
		return !this.answers.texts.some((answer) => answer.startsWith(said));
	}

	private passage(text: string): Passage {
		const whole = this.tailsAfter(text);
		const [first] = whole;
		let [count, length] = [0, 0];
		while (length < text.length && whole.every((tokens) => tokens[count] === first[count])) length += this.textOf(first[count++]).length;
		return { tokens: first.slice(0, count), tails: whole.map((tokens) => tokens.slice(count)) };
	}
}
