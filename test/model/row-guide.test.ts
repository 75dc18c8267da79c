/** Guided rows without a model: whatever is drawn among the allowed tokens, on vocabularies that cut `<answer>` at different places. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ANSWER_CLOSE, ANSWER_OPEN, CLOSING } from "../../src/model/answer-form.js";
import type { AnswerOptions } from "../../src/model/generative-model.js";
import { rowRandom } from "../../src/model/logits-processors.js";
import { GuideRules, type Vocabulary } from "../../src/model/qwen2_5_vl/guide-rules.js";
import { RowGuide } from "../../src/model/qwen2_5_vl/row-guide.js";
import { sees, tokenTree } from "../../src/model/qwen2_5_vl/token-tree.js";
import { QwenTokenizer } from "../../src/model/qwen2_5_vl/tokenizer.js";
import { repetitionDetector } from "../../src/model/repetition-detector.js";
import { goldenPath } from "../fixtures/read-golden.js";

const TEXTS = ["Image 1 is better", "Image 2 is better"];

/** Of the given pieces, longest match first. */
function pieces(...list: string[]): Vocabulary {
	const all = [...list, ...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)), "\n"];
	const byLength = [...all.keys()].sort((a, b) => all[b].length - all[a].length);
	return {
		size: all.length,
		textOf: (id) => all[id],
		encode(text) {
			const ids: number[] = [];
			for (let at = 0; at < text.length; at += all[ids[ids.length - 1]].length) {
				ids.push(byLength.find((id) => text.startsWith(all[id], at)) as number);
			}
			return ids;
		},
	};
}

async function vocabularyOf(dir: string): Promise<Vocabulary> {
	const tokenizer = await QwenTokenizer.load(dir);
	const size = 1 + Math.max(...tokenizer.encode(`${CLOSING}${TEXTS.join("")}${ANSWER_CLOSE} they are equal.`), 300);
	return { size, encode: (text) => tokenizer.encodeText(text), textOf: (id) => tokenizer.textOf(id) };
}

const JUDGE = fileURLToPath(new URL("../../examples/judge", import.meta.url));
const vocabularies: [string, () => Promise<Vocabulary>][] = [
	["one token per character", async () => pieces()],
	["one for <answer> itself", async () => pieces(ANSWER_OPEN, "Image", "</think>\n")],
	["one for >Image, as in many", async () => pieces("<answer", ">Image", "</", ">\n", " is", " better")],
	["one that reaches over </think> and <answer>", async () => pieces("</think>\n<", "answer>", "answer>Image 1", "answer>No")],
	["the golden checkpoint's", () => vocabularyOf(goldenPath("tiny-qwen2_5_vl"))],
	...(existsSync(JUDGE) ? [["the bundled judge's", () => vocabularyOf(JUDGE)] as [string, () => Promise<Vocabulary>]] : []),
];

const start = (vocabulary: Vocabulary, answers: Partial<AnswerOptions>, thinkingBudget?: number) =>
	new RowGuide(new GuideRules(vocabulary, { texts: TEXTS, ...answers }, thinkingBudget));

/** Says a text in its own tokens, where the guide lets it. */
function say(guide: RowGuide, vocabulary: Vocabulary, text: string): void {
	for (const id of vocabulary.encode(text)) guide.push(id);
}

describe.each(vocabularies)("a vocabulary with %s", (_, open) => {
	it("lets any draw end in one of the answers after <answer>, and both come", async () => {
		const vocabulary = await open();
		const random = rowRandom(5);
		const draw = (count: number) => (random.next() >>> 0) % count;
		const seen = new Set<string>();
		for (let row = 0; row < 20; row++) {
			const guide = start(vocabulary, { only: true });
			let text = "";
			const push = (id: number) => {
				guide.push(id);
				text += vocabulary.textOf(id);
			};
			for (const id of vocabulary.encode(`<think>So ${row}: <answer>not this</answer>, no.</think>\n`)) push(id);
			// It draws among all tokens, led towards `<answer>` so that it gets there.
			for (let step = 0; step < 60 && !text.endsWith(ANSWER_CLOSE); step++) {
				const { allowed } = guide;
				if (allowed && "only" in allowed) push(allowed.only[draw(allowed.only.length)]);
				else {
					const after = text.split("</think>\n")[1];
					const free = Array.from({ length: vocabulary.size }, (_, id) => id).filter((id) => {
						const piece = vocabulary.textOf(id);
						if (piece === "" || allowed?.not.has(id)) return false;
						return ANSWER_OPEN.startsWith(after + piece) || (after + piece).startsWith(ANSWER_OPEN);
					});
					push(free[draw(free.length)]);
				}
			}
			const answer = text.split(`</think>\n${ANSWER_OPEN}`)[1];
			expect(TEXTS.map((one) => `${one}${ANSWER_CLOSE}`)).toContain(answer);
			expect(guide.allowed === undefined || "not" in guide.allowed).toBe(true); // it goes on freely
			seen.add(answer);
		}
		expect(seen.size).toBe(2);
	});

	it("scores both answers, each whole, once", async () => {
		const vocabulary = await open();
		const guide = start(vocabulary, { score: true });
		expect(guide.allowed).toBeUndefined();
		let text = "";
		let found: { said: string; tails: readonly (readonly number[])[] } | undefined;
		for (const id of vocabulary.encode(`<think>Well.</think>\n<answer>${TEXTS[1]}${ANSWER_CLOSE}<answer>`)) {
			const before = text;
			guide.push(id);
			text += vocabulary.textOf(id);
			const point = guide.takeScorePoint();
			if (!point) continue;
			expect(found).toBeUndefined();
			found = { said: point.back === 1 ? before : text, tails: point.tails };
		}
		const whole = found?.tails.map((tail) => (found?.said ?? "") + tail.map(vocabulary.textOf).join(""));
		expect(whole).toEqual(TEXTS.map((answer) => `<think>Well.</think>\n<answer>${answer}${ANSWER_CLOSE}`));
	});

	it("closes reasoning at its budget, in the tokens of the whole text, and goes on to the answer", async () => {
		const vocabulary = await open();
		const guide = start(vocabulary, { score: true }, 7);
		let text = "";
		const push = (id: number) => {
			guide.push(id);
			text += vocabulary.textOf(id);
		};
		for (const id of vocabulary.encode("<think>I go on and on and on and on").slice(0, 7)) push(id);
		const before = text;
		expect(guide.forced).toBe(true);
		for (let { allowed } = guide; allowed && "only" in allowed; { allowed } = guide) push(allowed.only[0]);
		const forced = text.slice(before.length);
		expect(`${CLOSING}Image`.startsWith(forced) || forced.startsWith(CLOSING.slice(0, -1))).toBe(true);
		const tails = guide.takeScorePoint()?.tails.map((tail) => forced + tail.map(vocabulary.textOf).join(""));
		expect(tails).toEqual(TEXTS.map((answer) => `${CLOSING}${answer}${ANSWER_CLOSE}`));
	});

	it("leaves a row alone that closes its reasoning in time", async () => {
		const vocabulary = await open();
		const guide = start(vocabulary, {}, 100);
		say(guide, vocabulary, `<think>Well.</think>\n<answer>${TEXTS[0]}</answer>${"and so on ".repeat(20)}`);
		expect(guide.forced).toBe(false);
		expect(guide.allowed).toBeUndefined();
	});

	it("begins with the answer where it is to", async () => {
		const vocabulary = await open();
		const guide = start(vocabulary, { straight: true, only: true, score: true });
		let text = "";
		for (let { allowed } = guide; allowed && "only" in allowed; { allowed } = guide) {
			guide.push(allowed.only[allowed.only.length - 1]);
			text += vocabulary.textOf(allowed.only[allowed.only.length - 1]);
		}
		expect(text).toBe(`<answer>${TEXTS[1]}${ANSWER_CLOSE}`);
	});
});

describe("an answer that the newest token reaches into", () => {
	it("is scored from the token before, where the answers part in it", () => {
		const vocabulary = pieces("x>A", "x>B", "<answer>A");
		const rules = new GuideRules(vocabulary, { texts: ["A", "B"], score: true, only: true }, undefined);
		const guide = new RowGuide(rules);
		guide.push(vocabulary.encode("<answer>A")[0]);
		const point = guide.takeScorePoint();
		expect(point?.back).toBe(1);
		expect(point?.tails.map((tail) => tail.map(vocabulary.textOf).join(""))).toEqual(["<answer>A</answer>", "<answer>B</answer>"]);
		expect(guide.allowed).toEqual({ only: vocabulary.encode("</answer>").slice(0, 1) });
	});
});

describe("tokenTree", () => {
	it("reads what continuations share once, and asks for each of their tokens", () => {
		const tree = tokenTree(9, [
			[1, 2, 5, 6],
			[1, 3, 5, 6],
			[1, 2, 5, 7],
		]);
		expect(tree.tokens).toEqual([9, 1, 2, 5, 3, 5]);
		expect(tree.depths).toEqual([0, 1, 2, 3, 2, 3]);
		const spelled = tree.paths.map((path) => path.map((edge) => [tree.tokens[tree.edges[edge].node], tree.edges[edge].next]));
		expect(spelled[1]).toEqual([
			[9, 1],
			[1, 3],
			[3, 5],
			[5, 6],
		]);
		expect(tree.paths[0].slice(0, 3)).toEqual(tree.paths[2].slice(0, 3));
		expect([sees(tree, 3, 0), sees(tree, 3, 2), sees(tree, 5, 4), sees(tree, 5, 2), sees(tree, 2, 3)]).toEqual([
			true,
			true,
			true,
			false,
			false,
		]);
	});
});

describe("repetitionDetector", () => {
	const endOf = (tokens: number[], options: Parameters<typeof repetitionDetector>[0]) => {
		const repeats = repetitionDetector(options);
		return tokens.findIndex((token) => repeats(token)) + 1;
	};

	it("ends at the token that completes the last round", () => {
		const rounds = [7, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3];
		expect(endOf(rounds, { maxPatternSize: 8, minCount: 3 })).toBe(10);
		expect(endOf(rounds, { maxPatternSize: 3, minCount: 4 })).toBe(13);
		expect(endOf(rounds, { maxPatternSize: 2, minCount: 2 })).toBe(0);
		expect(endOf([4, 4, 4, 4], { maxPatternSize: 1, minCount: 3 })).toBe(3);
		expect(endOf([4, 4, 4, 4], { maxPatternSize: 8, minPatternSize: 3, minCount: 2 })).toBe(0);
	});

	it("equals a search of every end by hand", () => {
		const random = rowRandom(11);
		const brute = (tokens: number[], size: number, count: number) => {
			const end = tokens.slice(-size * count);
			return end.length === size * count && end.every((token, i) => token === end[i % size]);
		};
		for (let round = 0; round < 200; round++) {
			const tokens = Array.from({ length: 40 }, () => (random.next() >>> 0) % 2);
			const byHand = tokens.findIndex((_, i) => [2, 3, 4, 5].some((size) => brute(tokens.slice(0, i + 1), size, 3))) + 1;
			expect(endOf(tokens, { minPatternSize: 2, maxPatternSize: 5, minCount: 3 })).toBe(byHand);
		}
	});
});
