import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PreferenceRecord } from "../../src/dataset/preference-record.js";
import type { GenerateOptions, GenerativeModel, Message } from "../../src/model/generative-model.js";
import { type GenerateCotOptions, generateCoT } from "../../src/sampler/generate-cot.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import type { SamplingProgress } from "../../src/sampler/sampling-progress.js";
import { rolloutSeed } from "../../src/sampler/seed.js";
import { fakeModel } from "../../src/testing.js";
import { collect, temporaryFolder } from "../dataset/hpdv3-folder.js";
import { BETTER, judgement, record, records, rightAnswer, shownIn, textOf, WORSE } from "./records.js";

const sample = (from: PreferenceRecord[] | AsyncIterable<PreferenceRecord>, model: GenerativeModel, options: GenerateCotOptions = {}) =>
	collect(generateCoT(from, model, options));
const bySeed = (conversation: Message[], seed: number) => `${textOf(conversation).length} ${seed} ${"x ".repeat(seed % 7)}`;

interface Call {
	/** Generated rows, and the prompts that they continue. */
	rows: number;
	prompts: number;
	width: number;
	options: GenerateOptions;
}

/** The model, and the options and batch sizes of every call to it. */
function spied(model: GenerativeModel): { model: GenerativeModel; calls: Call[] } {
	const calls: Call[] = [];
	const generate: GenerativeModel["generate"] = (inputs, options = {}) => {
		const [prompts, width] = inputs.inputIds.shape;
		calls.push({ rows: options.promptOfRow?.length ?? prompts, prompts, width, options });
		return model.generate(inputs, options);
	};
	return { model: { ...model, generate }, calls };
}

describe("a rollout", () => {
	it("shows the images in the record's order and keeps the text that was asked", async () => {
		const asked: Message[][] = [];
		const model = fakeModel({
			answer(conversation) {
				asked.push(conversation);
				return judgement(1);
			},
		});
		const [rollout] = await sample([record(0, { images: [BETTER, WORSE], order: [1, 0] })], model, {
			promptTemplate: "Which fits {prompt}?",
		});
		expect(asked).toEqual([
			[
				{
					role: "user",
					content: [
						{ type: "text", text: "**Image 1:** " },
						{ type: "image", image: WORSE },
						{ type: "text", text: "\n**Image 2:** " },
						{ type: "image", image: BETTER },
						{ type: "text", text: "\nWhich fits caption 0?" },
					],
				},
			],
		]);
		expect(rollout.promptText).toBe("**Image 1:** <image>\n**Image 2:** <image>\nWhich fits caption 0?");
		expect(rollout).toMatchObject({ completion: judgement(1), finishReason: "stop", sampleIndex: 0, record: { order: [1, 0] } });
	});

	it("counts its tokens and is cut at maxNewTokens", async () => {
		const model = fakeModel({ answer: () => "one two three" }); // 5 tokens and the end
		expect(await sample(records(1), model)).toMatchObject([{ numTokens: 6, finishReason: "stop" }]);
		expect(await sample(records(1), model, { maxNewTokens: 3 })).toMatchObject([
			{ numTokens: 3, finishReason: "length", completion: "one two" },
		]);
	});

	it("has a seed of its own, a uint32 from run seed, key, order and sample", async () => {
		const both = [record(1, { order: [0, 1] }), record(1, { order: [1, 0] }), record(2)];
		const model = fakeModel({ answer: bySeed });
		const rollouts = [
			...(await sample(both, model, { samplesPerRecord: 3 })),
			...(await sample(both, model, { samplesPerRecord: 3, seed: 1 })),
		];
		expect(new Set(rollouts.map(({ seed }) => seed)).size).toBe(18);
		for (const { seed } of rollouts) expect(seed === seed >>> 0).toBe(true);
		expect(rollouts[4].seed).toBe(rolloutSeed(0, "key-1", [1, 0], 1));
		expect(rollouts[4].completion).toContain(` ${rollouts[4].seed} `);
	});
});

describe("batches", () => {
	it("make no difference: any batch size, sample count and order of records gives the same rollouts, in the records' order", async () => {
		const model = fakeModel({ answer: bySeed });
		const all = records(40);
		const expected = await sample(all, model, { batchSize: 1, samplesPerRecord: 3 });
		expect(expected.map((rollout) => [rollout.record.source.row, rollout.sampleIndex])).toEqual(
			all.flatMap((_, i) => [0, 1, 2].map((sampleIndex) => [i, sampleIndex])),
		);
		const batchSizes = fc.integer({ min: 1, max: 150 });
		await fc.assert(
			fc.asyncProperty(batchSizes, async (batchSize) => {
				expect(await sample(all, model, { batchSize, samplesPerRecord: 3 })).toEqual(expected);
			}),
			{ numRuns: 15 },
		);
		const name = ({ record: { key }, sampleIndex }: Rollout) => `${key} ${sampleIndex}`;
		const backwards = await sample([...all].reverse(), model, { batchSize: 7, samplesPerRecord: 3 });
		const completions = (rollouts: Rollout[]) => new Map(rollouts.map((rollout) => [name(rollout), rollout.completion]));
		expect(completions(backwards)).toEqual(completions(expected));
	});

	it("are filled across records and sorted by length", async () => {
		const { model, calls } = spied(fakeModel({ answer: bySeed }));
		await sample(records(10), model, { batchSize: 4, samplesPerRecord: 3 });
		expect(calls.map(({ rows }) => rows)).toEqual([4, 4, 4, 4, 4, 4, 4, 2]);
		const widths = calls.map(({ width }) => width);
		expect(widths).toEqual([...widths].sort((a, b) => b - a));
		expect(new Set(widths).size).toBeGreaterThan(1);
	});

	it("read each prompt once, however many samples continue it", async () => {
		const { model, calls } = spied(fakeModel({ answer: bySeed }));
		await sample(records(4), model, { batchSize: 6, samplesPerRecord: 3 });
		expect(calls.map(({ rows, prompts }) => [rows, prompts])).toEqual([
			[6, 2],
			[6, 2],
		]);
	});

	it("are generated while the next window's images are being decoded", async () => {
		const model = fakeModel({ answer: rightAnswer });
		const firstWindow = 2 * 8; // batches of two, eight to a window
		let encodings = 0;
		let decodedAhead: () => void;
		const ahead = new Promise<void>((resolve) => {
			decodedAhead = resolve;
		});
		const encodeConversation: typeof model.processor.encodeConversation = (...args) => {
			if (++encodings > firstWindow + 4) decodedAhead();
			return model.processor.encodeConversation(...args);
		};
		// The first batch does not end before images beyond its window are asked for: without overlap this would never return.
		const generate: typeof model.generate = async (...args) => {
			await ahead;
			return model.generate(...args);
		};
		const rollouts = await sample(
			records(3 * firstWindow),
			{ ...model, generate, processor: { ...model.processor, encodeConversation } },
			{ batchSize: 2 },
		);
		expect(rollouts).toHaveLength(3 * firstWindow);
	});

	it("share one encoding among a record's samples", async () => {
		const model = fakeModel({ answer: rightAnswer });
		let encodings = 0;
		const encodeConversation: typeof model.processor.encodeConversation = (...args) => {
			encodings++;
			return model.processor.encodeConversation(...args);
		};
		await sample(records(5), { ...model, processor: { ...model.processor, encodeConversation } }, { batchSize: 2, samplesPerRecord: 4 });
		expect(encodings).toBe(5);
	});

	it("pass the sampling options on", async () => {
		const { model, calls } = spied(fakeModel({ answer: rightAnswer }));
		await sample(records(1), model, { temperature: 0.7, topP: 0.9, topK: 40, repetitionPenalty: 1.1, maxNewTokens: 99 });
		expect(calls[0].options).toMatchObject({ temperature: 0.7, topP: 0.9, topK: 40, repetitionPenalty: 1.1, maxNewTokens: 99 });
	});
});

describe("streaming", () => {
	it("reads a bounded way ahead, and the first rollouts come before the last records", async () => {
		let read = 0;
		async function* endless() {
			for (;;) yield record(read++);
		}
		const rollouts = generateCoT(endless(), fakeModel({ answer: rightAnswer }), { batchSize: 2 });
		for (let i = 0; i < 10; i++) expect((await rollouts.next()).value.record.source.row).toBe(i);
		expect(read).toBeLessThanOrEqual(2 * 2 * 8 + 2 * 4);
		await rollouts.return(undefined);
	});

	it("closes its input when the reader stops early", async () => {
		let closed = false;
		async function* source() {
			try {
				for (let i = 0; ; i++) yield record(i);
			} finally {
				closed = true;
			}
		}
		for await (const rollout of generateCoT(source(), fakeModel({ answer: rightAnswer }), { batchSize: 2 })) {
			if (rollout.record.source.row === 3) break;
		}
		expect(closed).toBe(true);
	});

	it("yields what came before its input failed, then throws that failure", async () => {
		async function* source() {
			yield* records(40);
			throw new Error("the disk is gone");
		}
		const seen: Rollout[] = [];
		const run = async () => {
			for await (const rollout of generateCoT(source(), fakeModel({ answer: rightAnswer }), { batchSize: 2 })) seen.push(rollout);
		};
		await expect(run()).rejects.toThrow("the disk is gone");
		expect(seen).toHaveLength(40);
	});

	it("does not encode the window under way to its end for a reader that stopped, or an aborted signal", async () => {
		const model = fakeModel({ answer: rightAnswer });
		const controller = new AbortController();
		let encodings = 0;
		let abortAt = Number.POSITIVE_INFINITY;
		const encodeConversation: typeof model.processor.encodeConversation = async (...args) => {
			if (++encodings === abortAt) controller.abort(new Error("enough"));
			await new Promise(setImmediate);
			return model.processor.encodeConversation(...args);
		};
		const slow = { ...model, processor: { ...model.processor, encodeConversation } };
		const windowRows = 8 * 8;
		for await (const _ of generateCoT(records(3 * windowRows), slow, { batchSize: 8 })) break;
		expect(encodings).toBeLessThan(2 * windowRows);
		[encodings, abortAt] = [0, 10];
		const run = collect(generateCoT(records(3 * windowRows), slow, { batchSize: 8, signal: controller.signal }));
		await expect(run).rejects.toThrow("enough");
		expect(encodings).toBeLessThan(20);
	});
});

describe("what fails", () => {
	it("is a record with a bad image: each of its samples comes out as an error, in place", async () => {
		const folder = await temporaryFolder();
		await writeFile(join(folder, "empty.png"), "");
		const all = records(9);
		all[2] = record(2, { images: [BETTER, join(folder, "lost.png")] });
		all[5] = record(5, { images: [join(folder, "empty.png"), WORSE] });
		const rollouts = await sample(all, fakeModel({ answer: rightAnswer }), { batchSize: 4, samplesPerRecord: 2 });
		expect(rollouts.map(({ record: { source }, finishReason }) => `${source.row} ${finishReason}`)).toEqual(
			[0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((row) => Array(2).fill(`${row} ${row === 2 || row === 5 ? "error" : "stop"}`)),
		);
		expect(rollouts[5]).toMatchObject({
			completion: "",
			numTokens: 0,
			error: { kind: "bad-image", message: expect.stringMatching(/lost\.png: ENOENT/) },
		});
	});

	it("is a record that can't be encoded for another reason", async () => {
		const model = fakeModel({ answer: rightAnswer });
		const encodeConversation: typeof model.processor.encodeConversation = async () => {
			throw new TypeError("no such token");
		};
		const rollouts = await sample(records(2), { ...model, processor: { ...model.processor, encodeConversation } });
		expect(rollouts.map(({ error }) => error)).toEqual(Array(2).fill({ kind: "error", message: "no such token" }));
	});

	it("is the run, where the model fails", async () => {
		const generate: GenerativeModel["generate"] = async () => {
			throw new Error("out of memory");
		};
		const run = sample(records(3), { ...fakeModel({ answer: rightAnswer }), generate }, { batchSize: 2 });
		await expect(run).rejects.toThrow(
			/generation failed with 3 rollouts under way, the first of record 0 of pairs.json \(key-0\): out of memory; .*smaller batchSize/,
		);
	});

	it("is told from a stop: an aborted signal's reason is thrown as it is", async () => {
		const controller = new AbortController();
		const { model, calls } = spied(fakeModel({ answer: () => "word ".repeat(500) }));
		let steps = 0;
		const onProgress = () => {
			if (++steps === 300) controller.abort(new Error("enough"));
		};
		const run = sample(records(8), model, { batchSize: 2, signal: controller.signal, onProgress });
		await expect(run).rejects.toThrow("enough");
		expect(steps).toBe(300);
		expect(calls).toHaveLength(1);
		await expect(sample(records(8), model, { signal: controller.signal })).rejects.toThrow("enough");
		expect(calls).toHaveLength(1);
	});

	it("leaves no rejection unhandled when it is stopped before an input that fails", async () => {
		const unhandled: unknown[] = [];
		const listen = (reason: unknown) => void unhandled.push(reason);
		process.on("unhandledRejection", listen);
		// biome-ignore lint/correctness/useYield: it fails before its first record
		async function* source(): AsyncGenerator<PreferenceRecord> {
			throw new Error("the disk is gone");
		}
		const run = collect(generateCoT(source(), fakeModel({ answer: rightAnswer }), { signal: AbortSignal.abort(new Error("enough")) }));
		await expect(run).rejects.toThrow("enough");
		await new Promise((resolve) => setTimeout(resolve, 10));
		process.off("unhandledRejection", listen);
		expect(unhandled).toEqual([]);
	});
});

describe("progress", () => {
	it("counts rollouts, errors and tokens, and ends at what was yielded", async () => {
		const reports: SamplingProgress[] = [];
		const all = [...records(5), record(5, { images: ["/lost.png", WORSE] })];
		const rollouts = await sample(all, fakeModel({ answer: bySeed }), {
			batchSize: 2,
			samplesPerRecord: 2,
			onProgress: (p) => reports.push(p),
		});
		const last = reports[reports.length - 1];
		expect(last).toMatchObject({ done: 12, total: 12, errors: 2, tokens: rollouts.reduce((sum, { numTokens }) => sum + numTokens, 0) });
		expect(last.tokensPerSecond).toBeGreaterThan(0);
		for (const [i, report] of reports.entries()) if (i > 0) expect(report.tokens).toBeGreaterThanOrEqual(reports[i - 1].tokens);
		expect(reports.length).toBeGreaterThan(12);
	});
});

describe("arguments", () => {
	it.each<[GenerateCotOptions, RegExp]>([
		[{ batchSize: 0 }, /generateCoT: batchSize: expected a whole number, 1 or more, got 0/],
		[{ maxNewTokens: 1.5 }, /maxNewTokens/],
		[{ samplesPerRecord: 0 }, /samplesPerRecord/],
		[{ temperature: -1 }, /temperature: expected 0 \(greedy\) or more, got -1/],
		[{ temperature: Number.NaN }, /temperature/],
		[{ topP: 0 }, /topP/],
		[{ topK: -1 }, /topK/],
		[{ repetitionPenalty: 0 }, /repetitionPenalty/],
		[{ seed: 0.5 }, /seed/],
		[{ temperature: 0, samplesPerRecord: 2 }, /samplesPerRecord: expected 1 with temperature 0/],
		[{ promptTemplate: "no caption" }, /promptTemplate: expected a text with \{prompt\}.*got "no caption"/],
		[{ promptTemplate: "<image> {prompt}" }, /expected no <image>/],
	])("%j is refused at once", (options, message) => {
		expect(() => generateCoT([], fakeModel({ answer: rightAnswer }), options)).toThrow(message);
	});

	it("no records give no rollouts", async () => {
		expect(await sample([], fakeModel({ answer: rightAnswer }))).toEqual([]);
	});
});

describe("evaluating the asymmetric pair", () => {
	it("the fake judge sees the shown order: it names the better image wherever it is", async () => {
		const rollouts = await sample(records(6), fakeModel({ answer: (conversation) => shownIn(conversation)[0] }));
		expect(rollouts.map(({ completion }) => completion === BETTER)).toEqual([false, false, true, true, true, false]);
		expect(await readFile(BETTER)).not.toEqual(await readFile(WORSE));
	});
});

it("draws as many samples as a record is given; none leaves it out, and wrong numbers are refused", async () => {
	const all = records(4);
	const counts = new Map(all.map(({ key }, i) => [key, [2, 0, 1, 3][i]]));
	const model = fakeModel({ answer: rightAnswer });
	const samplesPerRecord = ({ key }: { key: string }) => counts.get(key) as number;
	const rollouts = await sample(all, model, { batchSize: 2, samplesPerRecord });
	expect(rollouts.map(({ record, sampleIndex }) => [all.indexOf(record), sampleIndex])).toEqual([
		...[0, 1].map((index) => [0, index]),
		[2, 0],
		...[0, 1, 2].map((index) => [3, index]),
	]);
	expect(rollouts.slice(3)).toEqual(await sample([all[3]], model, { samplesPerRecord: 3 }));
	const wrong = "samplesPerRecord: expected a whole number, 0 or more, got -1";
	expect(() => generateCoT(all, model, { samplesPerRecord: () => -1 })).toThrow(wrong);
	async function* stream() {
		yield* all;
	}
	await expect(sample(stream(), model, { samplesPerRecord: () => -1 })).rejects.toThrow(wrong);
});
