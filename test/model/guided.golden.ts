/**
 * Guided generation with the golden checkpoint, run on each backend by a file of its own: scores against the uncached forward pass (which is compared with transformers),
 * rows alone against rows in batches.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BackendName } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import type { EncodedConversation, GeneratedSample, GenerateStreamOptions } from "../../src/model/generative-model.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { repetitionDetector } from "../../src/model/repetition-detector.js";
import { goldenPath } from "../fixtures/read-golden.js";

const TEXTS = ["Image 1 is better", "Image 2 is better"];

export function guidedSuite(backend: BackendName): void {
	let model: Qwen2_5VLModel;
	let prompts: EncodedConversation[];
	beforeAll(async () => {
		model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend });
		const image = goldenPath("images", "chelsea_tiny.png");
		prompts = await Promise.all(
			["Which is better?", "Which of the two images is the better one, and why is it so?", "Say it."].map((text) =>
				model.processor.encodeConversation(
					[
						{
							role: "user",
							content: [
								{ type: "image", image },
								{ type: "text", text },
							],
						},
					],
					{
						addGenerationPrompt: true,
					},
				),
			),
		);
	});
	afterAll(async () => {
		await model?.[Symbol.asyncDispose]();
	});

	async function collect(asked: readonly EncodedConversation[], options: GenerateStreamOptions): Promise<GeneratedSample[]> {
		const samples: GeneratedSample[] = [];
		const requests = asked.map((encoded) => ({ encoded, seeds: [100 + prompts.indexOf(encoded), 200] }));
		for await (const sample of model.generateStream(requests, options)) samples.push(sample);
		return samples.sort((a, b) => a.request - b.request || a.sample - b.sample);
	}

	/** Log-probability of `tail` behind `prompt` and `said`, by one uncached pass over all of it. */
	async function teacherForced(prompt: EncodedConversation, said: readonly number[], tail: readonly number[]): Promise<number> {
		const inputIds = Int32Array.from([...prompt.inputIds, ...said, ...tail]);
		const inputs = model.processor.collate([{ ...prompt, inputIds }], { paddingSide: "left" });
		const logits = await model.forward(inputs);
		const vocabulary = logits.shape[2];
		const all = (await logits.data()) as Float32Array;
		logits.dispose();
		const first = prompt.inputIds.length + said.length - 1;
		return tail.reduce((sum, token, i) => {
			const row = all.subarray((first + i) * vocabulary, (first + i + 1) * vocabulary);
			const max = row.reduce((a, b) => Math.max(a, b));
			const total = row.reduce((a, b) => a + Math.exp(b - max), 0);
			return sum + row[token] - max - Math.log(total);
		}, 0);
	}

	const tokensOf = (text: string) => model.processor.encodeText?.(text) ?? [];

	describe("answers' scores", () => {
		it("at the beginning are those of an uncached pass, each answer whole; in a batch as alone; nothing is left", async () => {
			const options: GenerateStreamOptions = { maxNewTokens: 1, answers: { texts: TEXTS, score: true, straight: true } };
			await collect(prompts.slice(0, 1), options); // features of the image, graphs
			const before = memory().numTensors;
			const together = await collect(prompts, { ...options, batchSize: 8 });
			expect(memory().numTensors).toBe(before);
			for (const { request, answerLogProbs, text, finishReason } of together) {
				const want = await Promise.all(
					TEXTS.map((answer) => teacherForced(prompts[request], tokensOf("<answer>"), tokensOf(`${answer}</answer>`))),
				);
				for (const [i, logProb] of want.entries()) expect(answerLogProbs?.[i]).toBeCloseTo(logProb, 3);
				expect([text, finishReason]).toEqual(["<answer>", "length"]);
				const [alone] = await collect([prompts[request]], { ...options, batchSize: 1 });
				for (const [i, logProb] of want.entries()) expect(alone.answerLogProbs?.[i]).toBeCloseTo(logProb, 3);
			}
		});

		it("behind forced reasoning too, in rows that begin and end at different times", async () => {
			const options: GenerateStreamOptions = {
				...{ maxNewTokens: 60, temperature: 1, thinkingBudget: 6, batchSize: 4 },
				answers: { texts: TEXTS, score: true, only: true },
			};
			const samples = await collect(prompts, options);
			const closing = tokensOf("</think>\n<answer>");
			const drawn = new Set<string>();
			let compared = 0;
			for (const { request, sample, tokens, text, forced, answerLogProbs } of samples) {
				expect(forced).toBe(true);
				expect([...tokens.subarray(6, 6 + closing.length)]).toEqual(closing);
				expect(TEXTS.map((answer) => `${answer}</answer>`)).toContain(text.split("<answer>")[1].slice(0, `${TEXTS[0]}</answer>`.length));
				drawn.add(text.split("<answer>")[1].slice(0, TEXTS[0].length));
				const said = [...tokens.subarray(0, 6 + closing.length)];
				// A model of random weights says anything; an image that is not there can't be read again.
				if (said.some((id) => id === model.config.imageTokenId || id === model.config.videoTokenId)) continue;
				compared++;
				const want = await Promise.all(TEXTS.map((answer) => teacherForced(prompts[request], said, tokensOf(`${answer}</answer>`))));
				for (const [i, logProb] of want.entries()) expect(answerLogProbs?.[i], `${request}.${sample}`).toBeCloseTo(logProb, 3);
			}
			expect(drawn.size).toBe(2);
			expect(compared).toBeGreaterThan(2);
			const [alone] = await collect([prompts[1]], { ...options, batchSize: 1 });
			expect([...alone.tokens]).toEqual([...samples[2].tokens]);
		});

		it("are not given where the row never comes to its answer, and change no token", async () => {
			const free = await collect(prompts, { maxNewTokens: 12, temperature: 1 });
			const scored = await collect(prompts, { maxNewTokens: 12, temperature: 1, answers: { texts: TEXTS, score: true } });
			expect(scored.map(({ tokens }) => tokens)).toEqual(free.map(({ tokens }) => tokens));
			expect(scored.every((sample) => !("answerLogProbs" in sample) && !("forced" in sample))).toBe(true);
		});

		it("come with generate's rows", async () => {
			const inputs = model.processor.collate(prompts, { paddingSide: "left" });
			const answers = { texts: TEXTS, score: true, straight: true };
			const { answerLogProbs, forced } = await model.generate(inputs, { maxNewTokens: 1, answers });
			const stream = await collect(prompts, { maxNewTokens: 1, answers });
			for (const [row, logProbs] of (answerLogProbs ?? []).entries())
				for (const [i, logProb] of (logProbs ?? []).entries())
					expect(logProb).toBeCloseTo(stream[2 * row].answerLogProbs?.[i] ?? Number.NaN, 4);
			expect(answerLogProbs).toHaveLength(3);
			expect(forced).toBeUndefined();
		});
	});

	describe("repetition detection", () => {
		it("ends a row where its tokens come round, as they would without it", async () => {
			const options = { maxNewTokens: 64, eosTokenIds: [] };
			const free = await collect(prompts, options);
			const repetitionDetection = { maxPatternSize: 16, minCount: 3 };
			const ended = await collect(prompts, { ...options, repetitionDetection });
			for (const [i, { tokens, finishReason }] of ended.entries()) {
				const repeats = repetitionDetector(repetitionDetection);
				const end = free[i].tokens.findIndex((token) => repeats(token)) + 1;
				expect([...tokens]).toEqual([...free[i].tokens].slice(0, end || undefined));
				expect(finishReason).toBe(end > 0 ? "repetition" : "length");
			}
			expect(ended.some(({ finishReason }) => finishReason === "repetition")).toBe(true);
		});
	});

	it("says what is wrong with its options", () => {
		const stream = (options: GenerateStreamOptions) => () => model.generateStream([], options);
		expect(stream({ thinkingBudget: 3 })).toThrow(/thinkingBudget must be given with answers/);
		expect(stream({ answers: { texts: [] } })).toThrow(/answers.texts must be one text or more/);
		expect(stream({ repetitionDetection: { maxPatternSize: 0, minCount: 2 } })).toThrow(/maxPatternSize: expected a whole number, 1/);
		expect(stream({ repetitionDetection: { maxPatternSize: 4, minCount: 1 } })).toThrow(
			/minCount: expected a whole number, 2 or more, got 1/,
		);
	});
}
