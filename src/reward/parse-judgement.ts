/**
 * A judge's text, read strictly: one `<think>…</think>` (where reasoning was asked for), then one `<answer>…</answer>`, nothing
 * around or between them but white space. Strict, because what is accepted here is trained on: a judge that learns from
 * sloppy forms gets sloppier with each round.
 *
 * Passes: `<think>The cat is missing in image 2.</think><answer>Image 1 is better</answer>`
 * Fails: `I think <answer>Image 1 is better</answer>` (text before it), `<answer>Image 1</answer>` (not the sentence)
 */

/** What a judge said: `winner` is 1 or 2 as shown, or `tie`. */
export type Judgement =
	| { ok: true; winner: 1 | 2 | "tie"; reasoning?: string; answerText: string }
	| { ok: false; reason: string /** The text ends before its answer does. */; incomplete: boolean };

const ANSWER = /^image\s+([12])\s+is\s+better\.?$/i;
const TIES = [
	/^(it('|’)?s |it is )?a?\s*(tie|draw)\.?$/i,
	/^(both|the( two)?)( images)? are (about |roughly )?(equal|equally good|equally bad|the same|tied)\.?$/i,
	/^images? 1 and (image )?2 are (about |roughly )?(equal|equally good|equally bad|the same|tied)\.?$/i,
	/^neither( image| of them)?( is better)?\.?$/i,
	/^(no difference|equal)\.?$/i,
];

/** @param useCot whether reasoning was asked for; without it the answer must stand alone. Default true. */
export function parseJudgement(completion: string, { useCot = true }: { useCot?: boolean } = {}): Judgement {
	const incomplete = !completion.includes("</answer>");
	const fail = (reason: string): Judgement => ({ ok: false, reason, incomplete });
	const tags = useCot ? ["<think>", "</think>", "<answer>", "</answer>"] : ["<answer>", "</answer>"];
	for (const tag of tags) {
		const count = completion.split(tag).length - 1;
		if (count !== 1) return fail(`expected one ${tag}, got ${count === 0 ? "none" : count}`);
	}
	if (!useCot && /<\/?think>/.test(completion)) return fail("expected no <think> block, as no reasoning was asked for, got one");
	const places = tags.map((tag) => completion.indexOf(tag));
	if (places.some((place, i) => i > 0 && place < places[i - 1])) return fail(`expected ${tags.join("…")} in this order, got another`);
	const reasoning = useCot ? completion.slice(places[0] + "<think>".length, places[1]).trim() : undefined;
	const [open, close] = places.slice(-2);
	const answerText = completion.slice(open + "<answer>".length, close).trim();
	const between = useCot ? completion.slice(places[1] + "</think>".length, open) : "";
	const outside = [completion.slice(0, places[0]), between, completion.slice(close + "</answer>".length)].map((text) => text.trim());
	const stray = outside.find((text) => text !== "");
	if (stray !== undefined) return fail(`expected nothing outside the blocks, got ${quote(stray)}`);
	if (reasoning === "") return fail("expected reasoning inside <think>, got none");
	const winner = winnerOf(answerText);
	if (winner === undefined) return fail(`expected "Image 1 is better" or "Image 2 is better" inside <answer>, got ${quote(answerText)}`);
	return { ok: true, winner, answerText, ...(reasoning !== undefined && { reasoning }) };
}

function winnerOf(answer: string): 1 | 2 | "tie" | undefined {
	const match = ANSWER.exec(answer);
	if (match) return match[1] === "1" ? 1 : 2;
	return TIES.some((tie) => tie.test(answer)) ? "tie" : undefined;
}

function quote(text: string): string {
	return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
