/**
 * How likely each answer is, from the log-probabilities that a chat endpoint sends with its tokens (`logprobs`, `top_logprobs`). Such an endpoint scores what it says and no
 * other text, so the answers are told apart at the one token where they part: "1" or "2" of "Image 1 is better". What is common before it is left out, and what follows it
 * is taken as certain. An answer that is not among the likeliest tokens there counts as likely as the last of those: no more than that.
 */
import { ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE } from "../answer-form.js";

/** One token of an answer, as OpenAI's `choices[].logprobs.content` has it. */
export interface TokenLogProb {
	token: string;
	logprob: number;
	top_logprobs?: { token: string; logprob: number }[];
}

/** @returns per text; undefined where the answer is missing, or is none of the texts */
export function answerLogProbs(tokens: readonly TokenLogProb[], texts: readonly string[]): number[] | undefined {
	const whole = tokens.map(({ token }) => token).join("");
	const from = Math.max(0, whole.lastIndexOf(THINK_CLOSE));
	const open = whole.indexOf(ANSWER_OPEN, from);
	if (open < 0) return undefined;
	const begin = open + ANSWER_OPEN.length;
	const answers = texts.map((text) => `${text}${ANSWER_CLOSE}`);
	let end = 0;
	for (const token of tokens) {
		const start = end;
		end += token.token.length;
		if (end <= begin) continue;
		// The token may reach over the end of `<answer>`.
		const beginsWith = (answer: string, alternative: string) => startsAs(answer, `${whole.slice(0, start)}${alternative}`.slice(begin));
		if (answers.every((answer) => beginsWith(answer, token.token))) continue;
		if (!answers.some((answer) => beginsWith(answer, token.token))) return undefined;
		return answers.map((answer) => likelihood(token, (alternative) => beginsWith(answer, alternative)));
	}
	return undefined;
}

/** Whether one is the beginning of the other. */
function startsAs(answer: string, said: string): boolean {
	return answer.startsWith(said) || said.startsWith(answer);
}

function likelihood({ token, logprob, top_logprobs = [] }: TokenLogProb, fits: (alternative: string) => boolean): number {
	const all = new Map([...top_logprobs.map((one) => [one.token, one.logprob] as const), [token, logprob]]);
	const own = [...all].filter(([alternative]) => fits(alternative)).map(([, value]) => value);
	if (own.length === 0) return Math.min(...all.values());
	return Math.log(own.reduce((sum, value) => sum + Math.exp(value), 0));
}
