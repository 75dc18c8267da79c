/**
 * The judge's form of reasoning, written from what two pictures show. It spells the comparison word by word —
 * caption's word, seen word, mark — because a small model learns to judge from that, and not without it
 * (93.8 % against 54 %, in trials with torch). Nouns are singular in the comparison, so that equal means the same token.
 *
 *     <think>
 *     Image 1: clean, two blue triangles, left.
 *     Image 2: clean, two red triangles, left.
 *     Check 1: two two=, blue blue=, triangle triangle=, left left=.
 *     Check 2: two two=, blue red!, triangle triangle=, left left=.
 *     Scores: semantic consistency 9-5, aesthetics 8-8, authenticity 8-8, totals 25-21.
 *     </think>
 *     <answer>Image 1 is better</answer>
 */
import type { Look, Subject } from "./pair.js";
import { ATTRIBUTES, shapeWord } from "./scene.js";

const CONSISTENT = 9;
const MISMATCH_COST = 4;
const CLEAN_SCORES = { aesthetics: 8, authenticity: 8 };
const FLAWED_SCORES = { aesthetics: 4, authenticity: 5 };

/** "clean, two blue triangles, left" or "noisy, a photo" */
export function describeLook({ quality, subject }: Look): string {
	if (subject.kind === "photo") return `${quality}, a photo`;
	const { scene } = subject;
	return `${quality}, ${scene.count} ${scene.colour} ${shapeWord(scene)}, ${scene.place}`;
}

/** The words of a subject that are compared, one for each attribute. */
function wordsOf(subject: Subject): string[] {
	return subject.kind === "photo" ? ["photo"] : ATTRIBUTES.map((attribute) => subject.scene[attribute]);
}

interface Comparison {
	text: string;
	mismatches: number;
}

function compare(asked: Subject, seen: Subject): Comparison {
	const askedWords = wordsOf(asked);
	const seenWords = wordsOf(seen);
	const marks = askedWords.map((word, i) => (word === seenWords[i] ? "=" : "!"));
	return {
		text: askedWords.map((word, i) => `${word} ${seenWords[i]}${marks[i]}`).join(", "),
		mismatches: marks.filter((mark) => mark === "!").length,
	};
}

/** Scores 1–10 in the three dimensions. */
function scoreLook(look: Look, { mismatches }: Comparison): [number, number, number] {
	const { aesthetics, authenticity } = look.quality === "clean" ? CLEAN_SCORES : FLAWED_SCORES;
	return [Math.max(1, CONSISTENT - MISMATCH_COST * mismatches), aesthetics, authenticity];
}

/** The two descriptions alone, as the judge is first taught to see. */
export function writeDescriptions(first: Look, second: Look): string {
	return `Image 1: ${describeLook(first)}.\nImage 2: ${describeLook(second)}.`;
}

/**
 * The whole judgement of two pictures in the order shown. Equal totals are answered with Image 1: the lean of a
 * judge that saw no difference.
 */
export function writeJudgement(asked: Subject, first: Look, second: Look): string {
	const comparisons = [compare(asked, first.subject), compare(asked, second.subject)];
	const [a, b] = [scoreLook(first, comparisons[0]), scoreLook(second, comparisons[1])];
	const [totalA, totalB] = [a, b].map((scores) => scores.reduce((sum, score) => sum + score, 0));
	const dimensions = ["semantic consistency", "aesthetics", "authenticity"].map((name, i) => `${name} ${a[i]}-${b[i]}`);
	return [
		"<think>",
		writeDescriptions(first, second),
		...comparisons.map(({ text }, i) => `Check ${i + 1}: ${text}.`),
		`Scores: ${dimensions.join(", ")}, totals ${totalA}-${totalB}.`,
		"</think>",
		`<answer>Image ${totalA >= totalB ? 1 : 2} is better</answer>`,
	].join("\n");
}
