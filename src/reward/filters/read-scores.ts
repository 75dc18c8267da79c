/**
 * The scores that a judge gives in its reasoning: one per dimension and image, and a total per image. Three forms are read:
 *
 *   UnifiedReward-Think, LightRFT   Semantic consistency: Image 1 (9/10) - …; Image 2 (7/10) - …   Total score:⏎Image 1: 9+8+8=25⏎Image 2: …
 *   this library's own question     Semantic consistency: … Image 1: 7, Image 2: 4                 Total: Image 1: 21, Image 2: 15
 *   the bundled judge               Scores: semantic consistency 9-5, aesthetics 8-8, totals 17-13.
 *
 * Images may stand in either order. Where scores say what they are out of ("9/10"), only such count as scores; else a line's last number
 * after "Image 1" does, so that "Image 1: 3 dogs … Image 1: 7" is read as 7.
 */

export interface Scores {
	/** Per image, as shown: one score per dimension. */
	dimensions: readonly [number[], number[]];
	totals: readonly [number, number];
	/** The sums that are written out before a total ("9+8+8="), per image, where they are. */
	addends: readonly [number[] | undefined, number[] | undefined];
}

export type ReadScores = ({ ok: true } & Scores) | { ok: false; reason: string };

/** No score has more digits; and a judge that repeats itself writes thousands, over which a pattern without bounds would search for hours. */
const NUMBER = String.raw`(?<!\d)\d{1,6}(?:\.\d{1,6})?(?!\d)`;
const TOTALS = /\btotals?\b(?:\s+scores?)?/gi;
const OUT_OF_TEN = new RegExp(String.raw`\bimage\s*([12])\W{0,4}(${NUMBER})\s*/\s*10\b`, "gi");
const PLAIN = new RegExp(String.raw`\bimage\s*([12])\s*(?:[*]+\s*)?[:(=]\s*(?:[*]+\s*)?(${NUMBER})`, "gi");
const TOTAL = new RegExp(String.raw`\bimage\s*([12])\W{0,6}((?:${NUMBER}\s*\+\s*)*${NUMBER})(?:\s*/\s*\d+)?(?:\s*=\s*(${NUMBER}))?`, "gi");
const DASHED = new RegExp(String.raw`(${NUMBER})\s*[-–]\s*(${NUMBER})`, "g");
const AT_START = new RegExp(`^\\W{0,3}${DASHED.source}`);
/** Far more than "totals 17-13" takes. */
const DASHED_TOTALS_LENGTH = 100;

/** @returns the scores, or what was expected and missing. */
export function readScores(reasoning: string): ReadScores {
	const written = [...reasoning.matchAll(TOTAL)];
	const next = new Map<string, RegExpExecArray>();
	// The last one that totals follow: "in total" may stand in the prose before, and after.
	for (const { index, 0: word } of [...reasoning.matchAll(TOTALS)].reverse()) {
		const end = index + word.length;
		for (let last = written.at(-1); last && last.index >= end; last = written.at(-1)) {
			next.set(last[1], last);
			written.pop();
		}
		const totals = dashedTotals(reasoning.slice(end, end + DASHED_TOTALS_LENGTH)) ?? readTotals(next.get("1"), next.get("2"));
		if (!totals) continue;
		const dimensions = totals.dashed ? dashedScores(reasoning.slice(0, index)) : imageScores(reasoning.slice(0, index));
		const [first, second] = dimensions;
		if (first.length === 0 || first.length !== second.length) {
			return { ok: false, reason: `expected as many scores for Image 1 as for Image 2, got ${first.length} and ${second.length}` };
		}
		return { ok: true, dimensions, totals: totals.totals, addends: totals.addends };
	}
	return { ok: false, reason: "expected a total for each image, got none" };
}

interface Totals extends Pick<Scores, "totals" | "addends"> {
	dashed: boolean;
}

function dashedTotals(text: string): Totals | undefined {
	const dashed = AT_START.exec(text);
	if (dashed) return { totals: [Number(dashed[1]), Number(dashed[2])], addends: [undefined, undefined], dashed: true };
	return undefined;
}

/** @param first the first match of TOTAL for Image 1 after the word, likewise `second` */
function readTotals(first: RegExpExecArray | undefined, second: RegExpExecArray | undefined): Totals | undefined {
	if (!first || !second) return undefined;
	const found = [first, second].map(([, , sum, total]) => ({ sum, total }));
	const addends = found.map(({ sum }) => (sum.includes("+") ? sum.split("+").map(Number) : undefined));
	const totals = found.map(({ sum, total }, i) => Number(total ?? (addends[i] ? addUp(addends[i] ?? []) : sum)));
	return { totals: [totals[0], totals[1]], addends: [addends[0], addends[1]], dashed: false };
}

function imageScores(text: string): [number[], number[]] {
	const scores: [number[], number[]] = [[], []];
	const outOfTen = [...text.matchAll(OUT_OF_TEN)];
	if (outOfTen.length > 0) {
		for (const [, image, score] of outOfTen) scores[Number(image) - 1].push(Number(score));
		return scores;
	}
	for (const line of text.split("\n")) {
		const last = new Map([...line.matchAll(PLAIN)].map(([, image, score]) => [image, Number(score)]));
		for (const [image, score] of last) scores[Number(image) - 1].push(score);
	}
	return scores;
}

function dashedScores(text: string): [number[], number[]] {
	const line = text.slice(text.lastIndexOf("\n") + 1);
	const pairs = [...line.matchAll(DASHED)];
	return [pairs.map(([, first]) => Number(first)), pairs.map(([, , second]) => Number(second))];
}

/** Of scores with decimals too: 7.1 + 8.2 is 15.3. */
export function addUp(scores: readonly number[]): number {
	return Number(scores.reduce((sum, score) => sum + score, 0).toFixed(6));
}
