/**
 * Guides one row: watches its text for the tags of a judgement, and says which tokens may come next. It is told every token; the time per token does not grow with
 * the row.
 */
import { ANSWER_OPEN, THINK_CLOSE, THINK_OPEN } from "../answer-form.js";
import type { GuideRules, Passage } from "./guide-rules.js";

/** What may come next: these tokens only, or all but those. */
export type Allowed = { only: readonly number[] } | { not: ReadonlySet<number> };

/** Where the answers are scored, and the tokens of each from there. */
export interface ScorePoint {
	/** Tokens before the newest one: 0, or 1 where the newest reaches into an answer and the answers part in it. */
	back: number;
	tails: readonly (readonly number[])[];
}

/** A row that has come so far goes on with an answer; its next token may be `>` or reach into the answer. */
const ALMOST_OPEN = ANSWER_OPEN.slice(0, -1);

/** Of the text before, as much is looked at as a tag may have begun in. */
const KEPT = Math.max(THINK_OPEN.length, THINK_CLOSE.length, ANSWER_OPEN.length) - 1;

export class RowGuide {
	/** Whether the row was made to close its reasoning. */
	forced = false;
	private passage: Passage | undefined;
	/** Tokens of the passage that the row has said. */
	private said = 0;
	private count = 0;
	/** The end of the text so far. */
	private tail = "";
	private thinking = false;
	/** Reasoning was closed. */
	private closed = false;
	/** The row came to its answer. */
	private arrived = false;
	/** What the answers that are still possible have left; undefined outside an answer. */
	private left: readonly (readonly number[])[] | undefined;
	private point: ScorePoint | undefined;

	constructor(private readonly rules: GuideRules) {
		if (rules.answers.straight) this.passage = rules.opening;
	}

	/** Undefined where any token may come. */
	get allowed(): Allowed | undefined {
		if (this.passage) return { only: [this.passage.tokens[this.said]] };
		if (this.left) return { only: [...new Set(this.left.map(([next]) => next))] };
		if (!this.rules.answers.only || this.thinking) return undefined;
		const not = this.rules.forbiddenAfter(this.pending);
		return not.size > 0 ? { not } : undefined;
	}

	/** Where to score the answers now, once. */
	takeScorePoint(): ScorePoint | undefined {
		const { point } = this;
		this.point = undefined;
		return point;
	}

	push(token: number): void {
		this.count++;
		if (this.left) this.follow(token);
		const text = this.tail + this.rules.textOf(token);
		this.tail = text.slice(-KEPT);
		if (this.passage) this.goOn(this.passage);
		else {
			this.watch(text, token);
			this.checkBudget();
		}
	}

	/** The end of the text that may become an `<answer>`. */
	private get pending(): string {
		for (let length = Math.min(KEPT, this.tail.length); length > 0; length--) {
			const end = this.tail.slice(-length);
			if (ANSWER_OPEN.startsWith(end)) return end;
		}
		return "";
	}

	private goOn(passage: Passage): void {
		if (++this.said < passage.tokens.length) return;
		this.passage = undefined;
		this.thinking = false;
		this.closed = true;
		this.arriveWith(passage.tails);
	}

	private watch(text: string, token: number): void {
		if (!this.closed && text.includes(THINK_OPEN)) this.thinking = true;
		if (text.includes(THINK_CLOSE)) {
			this.closed = true;
			this.thinking = false;
		}
		if (this.thinking || this.left) return;
		const at = text.indexOf(ANSWER_OPEN);
		if (at < 0) {
			if (text.endsWith(ALMOST_OPEN)) this.arriveWith(this.rules.tailsAfter(ANSWER_OPEN.slice(ALMOST_OPEN.length)));
			return;
		}
		const said = text.slice(at + ANSWER_OPEN.length);
		const possible = this.rules.tailsOf(said);
		const all = possible.length === this.rules.answers.texts.length;
		this.arrive(all ? { back: 0, tails: possible } : this.healed(token, said), possible);
	}

	private arriveWith(tails: readonly (readonly number[])[]): void {
		this.arrive({ back: 0, tails }, tails);
	}

	/** The answers from before the newest token, which reaches so far into an answer. */
	private healed(token: number, said: string): ScorePoint {
		const text = this.rules.textOf(token);
		return { back: 1, tails: this.rules.tailsAfter(text.slice(0, text.length - said.length)) };
	}

	/** @param left what the answers that are still possible have left */
	private arrive(point: ScorePoint, left: readonly (readonly number[])[]): void {
		if (this.rules.answers.score && !this.arrived) this.point = point;
		this.arrived = true;
		if (this.rules.answers.only) this.left = left;
	}

	private follow(token: number): void {
		const left = this.left?.filter(([next]) => next === token).map((tail) => tail.slice(1));
		this.left = left?.some((tail) => tail.length === 0) ? undefined : left;
	}

	private checkBudget(): void {
		const { thinkingBudget, closing } = this.rules;
		if (thinkingBudget === undefined || this.count < thinkingBudget || this.closed || this.arrived) return;
		this.passage = closing;
		this.said = 0;
		this.forced = true;
	}
}
