/** Direct preference optimization through the trainer's loop. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import { encodePair } from "../../src/trainer/encode-pair.js";
import type { PreferencePair } from "../../src/trainer/preference-pair.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import type { TrainingEvent } from "../../src/trainer/training-events.js";
import { BigramModel, BROKEN_IMAGE } from "../fakes/bigram-model.js";

const pair = (chosen: string, rejected: string, images: string[] = []): PreferencePair => ({
	conversations: [{ from: "human", value: `${"<image>".repeat(images.length)}say` }],
	chosen: { from: "gpt", value: chosen },
	rejected: { from: "gpt", value: rejected },
	images,
});
const WORDS = ["abcabc", "xyz", "hello", "mnmnmnmn", "0123", "zyx zyx", "foo bar foo", "qrs"];
const PAIRS = WORDS.map((word, i) =>
	pair(
		word,
		[...word]
			.reverse()
			.join("")
			.toUpperCase()
			.repeat(1 + (i % 3)),
		i % 2 ? ["a.png"] : [],
	),
);
const FAST: TrainerOptions = { dpo: {}, trainBatchSize: 3, learningRate: 0.05, maxEpochs: 4, warmupRatio: 0 };

let model: BigramModel;
let dir: string;
beforeAll(async () => {
	await selectBackend("cpu");
});
beforeEach(async () => {
	model = new BigramModel();
	dir = await mkdtemp(path.join(tmpdir(), "dpo-"));
});
afterEach(async () => {
	await model[Symbol.asyncDispose]();
	await rm(dir, { recursive: true });
});
const train = (options: TrainerOptions = {}, rows: readonly PreferencePair[] = PAIRS) =>
	new Trainer(model, { ...FAST, ...options }).fit(rows);
const difference = (a: number[], b: number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));

async function trained(options: TrainerOptions) {
	const fresh = new BigramModel();
	const { history } = await new Trainer(fresh, { ...FAST, ...options }).fit(PAIRS);
	const values = await fresh.values();
	await fresh[Symbol.asyncDispose]();
	return { values, history };
}

describe("learning from pairs", () => {
	it.each([
		[{}, Math.log(2)],
		[{ labelSmoothing: 0.3 }, Math.log(2)],
		[{ loss: "hinge" }, 1],
		[{ loss: "ipo", beta: 0.25 }, 4],
	] as const)("begins at the loss of a model that is its own reference: %j, %d", async (dpo, expected) => {
		const { history } = await train({ dpo, maxSteps: 1 });
		expect(history[0].loss).toBeCloseTo(expected, 5);
		expect(history[0].gradNorm).toBeGreaterThan(0);
		const { "logps/chosen": chosen, "logps/rejected": rejected, ...rewards } = history[0].metrics!;
		for (const reward of Object.values(rewards)) expect(reward).toBeCloseTo(0, 5);
		expect(chosen).toBeLessThan(0);
		expect(rejected).toBeLessThan(0);
	});

	it("adds the chosen answers' mean negative log-likelihood, each answer counting alike", async () => {
		const rows = PAIRS.slice(0, 3);
		const nll: number[] = [];
		for (const { chosen, conversations, images } of rows) {
			const fresh = new BigramModel();
			const sft = new Trainer(fresh, { trainBatchSize: 1, maxSteps: 1 });
			nll.push((await sft.fit([{ conversations: [...conversations, chosen], images }])).finalLoss);
			await fresh[Symbol.asyncDispose]();
		}
		const { finalLoss } = await train({ dpo: { ftx: 0.5 }, maxSteps: 1 }, rows);
		expect(finalLoss).toBeCloseTo(Math.log(2) + (0.5 * nll.reduce((a, b) => a + b, 0)) / 3, 4);
	});

	it("raises the chosen answers over the rejected ones, whatever the loss", async () => {
		for (const loss of ["sigmoid", "hinge", "ipo"] as const) {
			const { history } = await trained({ dpo: { loss }, maxEpochs: 8 });
			const last = history.at(-1)!;
			expect(last.loss).toBeLessThan(history[0].loss);
			expect(last.metrics!["rewards/accuracies"]).toBe(1);
			expect(last.metrics!["rewards/margins"]).toBeGreaterThan(0.1);
			expect(last.metrics!["rewards/margins"]).toBeCloseTo(last.metrics!["rewards/chosen"] - last.metrics!["rewards/rejected"], 5);
		}
	});

	it("is the same whatever the micro-batch size", async () => {
		const dpo = { ftx: 0.1, labelSmoothing: 0.1 };
		const one = await trained({ dpo });
		for (const microTrainBatchSize of [2, 3]) {
			const several = await trained({ dpo, microTrainBatchSize });
			expect(difference(several.values, one.values)).toBeLessThan(1e-5);
			for (const [i, { loss, metrics }] of several.history.entries()) {
				expect(loss).toBeCloseTo(one.history[i].loss, 5);
				for (const [name, value] of Object.entries(metrics!)) expect(value).toBeCloseTo(one.history[i].metrics![name], 4);
			}
		}
	});

	it("counts both conversations' tokens, groups by length, and leaves no tensor behind", async () => {
		const before = memory().numTensors;
		const counts = new Set<number>();
		const onEvent = (event: TrainingEvent) => event.type === "step" && counts.add(memory().numTensors);
		const { history } = await train({ trainBatchSize: 8, maxSteps: 3, microTrainBatchSize: 2, groupByLength: true, onEvent });
		const tokens = PAIRS.reduce((sum, { chosen, rejected, images }) => {
			const asked = "say".length + images.length + 1;
			return sum + 2 * asked + chosen.value.length + 1 + rejected.value.length + 1;
		}, 0);
		expect(history[0].tokens).toBe(tokens);
		expect(history[0].padding).toBeGreaterThan(0);
		expect(counts.size).toBe(1);
		expect(memory().numTensors).toBe(before);
	});

	it("labels the last answer alone: an assistant's earlier turns are part of the question", async () => {
		const conversations = [{ from: "human" as const, value: "hi" }, { from: "gpt" as const, value: "oh" }, ...PAIRS[0].conversations];
		const example = await encodePair({ ...PAIRS[0], conversations }, 0, model.processor, {});
		if (!("encoded" in example)) throw new Error(example.detail);
		const said = ({ inputIds, assistantMask }: typeof example.encoded) =>
			model.processor.decode(inputIds.filter((_, t) => assistantMask[t] === 1));
		expect(said(example.encoded)).toBe(`${PAIRS[0].chosen.value}\u0002`);
		expect(said(example.rejected)).toBe(`${PAIRS[0].rejected.value}\u0002`);
		expect(example.rejected.images).toBe(example.encoded.images);
	});

	it("drops a pair of which one answer is too long, or an image can't be read", async () => {
		const long = pair("short", "far too long for it".repeat(3));
		const { dropped } = await train({ promptMaxLen: 40, maxEpochs: 1 }, [...PAIRS, long, pair("a", "b", [BROKEN_IMAGE])]);
		expect(dropped.sort((a, b) => a.row - b.row)).toMatchObject([
			{ row: 8, reason: "too-long", detail: expect.stringContaining("with the rejected answer: 62 tokens") },
			{ row: 9, reason: "bad-image" },
		]);
	});

	it("logs TRL's metrics and reports the pass before the first step", async () => {
		const events: TrainingEvent[] = [];
		await train({ logDir: dir, maxSteps: 2, onEvent: (event) => events.push(event) });
		const [line] = (await readFile(path.join(dir, "metrics.jsonl"), "utf8")).split("\n");
		expect(Object.keys(JSON.parse(line) as object)).toEqual(
			expect.arrayContaining(["train/loss", "train/rewards/accuracies", "train/rewards/margins", "train/logps/chosen"]),
		);
		expect(events.filter(({ type }) => type === "reference").at(-1)).toEqual({ type: "reference", rows: 8, totalRows: 8 });
	});
});

describe("interruption", () => {
	it.each([
		["AdamW", {}],
		[
			"Adafactor, several pairs at once, everything else",
			{ optimizer: "adafactor", microTrainBatchSize: 2, groupByLength: true, dpo: { loss: "ipo", ftx: 0.1 } },
		],
	] as [string, TrainerOptions][])("a resumed run has the same bits as one that never stopped: %s", async (_, options) => {
		const straight = await train({ ...options, savePath: dir, saveSteps: 5 });
		const expected = await model.values();
		await model[Symbol.asyncDispose]();
		model = new BigramModel(99); // another one: the reference is the checkpoint's
		const events: TrainingEvent[] = [];
		const resumed = await train({
			...options,
			resumeFromCheckpoint: path.join(dir, "checkpoint-5"),
			onEvent: (event) => events.push(event),
		});
		expect(await model.values()).toEqual(expected);
		const comparable = (run: typeof resumed) => run.history.map(({ tokensPerSecond, ...record }) => record);
		expect(comparable(resumed)).toEqual(comparable(straight));
		expect(events.some(({ type }) => type === "reference")).toBe(false);
	});

	it("stopped before its first step, it begins its reference anew", async () => {
		const straight = await trained({});
		const abort = new AbortController();
		const onEvent = ({ type }: TrainingEvent) => type === "reference" && abort.abort(new Error("SIGTERM"));
		await expect(train({ savePath: dir, signal: abort.signal, onEvent })).rejects.toThrow("SIGTERM");
		await train({ resumeFromCheckpoint: dir });
		expect(await model.values()).toEqual(straight.values);
	});

	it("is another run with another beta, or without", async () => {
		await train({ savePath: dir, saveSteps: 2 });
		await expect(train({ dpo: { beta: 0.2 }, resumeFromCheckpoint: dir })).rejects.toThrow(
			/dpo was .*"beta":0\.1.* and is now .*"beta":0\.2/,
		);
	});
});

describe("refusals", () => {
	const bad = (change: Record<string, unknown>) => train({}, [PAIRS[0], { ...PAIRS[1], ...change } as PreferencePair]);
	it.each([
		[{ rejected: undefined }, "row 1: rejected: expected object, got nothing"],
		[{ chosen: { from: "gpt", value: " " } }, 'row 1: chosen.value: expected an answer that is not empty, got string " "'],
		[{ rejected: PAIRS[1].chosen }, "row 1: rejected.value: expected another answer than the chosen one"],
		[{ conversations: [...PAIRS[1].conversations, PAIRS[1].chosen] }, "row 1: conversations: expected a question at the end: a human turn"],
		[{ images: [] }, "row 1: 1 <image> placeholders but 0 images"],
		[{ chosen: undefined, rejected: undefined }, "row 1: chosen: expected object"],
	])("a pair that contradicts itself, before the first step: %j", async (change, message) => {
		await expect(bad(change)).rejects.toThrow(message);
	});

	it("rows that are none of the objective's", async () => {
		const conversation = { conversations: [...PAIRS[0].conversations, PAIRS[0].chosen], images: [] };
		await expect(new Trainer(model, FAST).fit([conversation])).rejects.toThrow(/row 0: expected a pair .*readPreferencePairs/);
		await expect(new Trainer(model, { ...FAST, dpo: undefined }).fit(PAIRS)).rejects.toThrow(/row 0: a pair of answers; .*option dpo/);
	});

	it.each([
		[{ packing: true }, /packing with dpo can't be honoured: an answer's log-probability is that of a row of its own/],
		[{ neftuneNoiseAlpha: 5 }, /neftuneNoiseAlpha with dpo can't be honoured/],
		[{ labelSmoothing: 0.1 }, /labelSmoothing with dpo can't be honoured: .*dpo\.labelSmoothing/],
		[{ dpo: { beta: 0 } }, /dpo\.beta is 0; expected a number above 0/],
		[{ dpo: { labelSmoothing: 0.5 } }, /dpo\.labelSmoothing is 0\.5/],
		[{ dpo: { labelSmoothing: 0.1, loss: "ipo" } }, /dpo\.labelSmoothing is 0\.1; expected 0 with the loss ipo/],
		[{ dpo: { ftx: -1 } }, /dpo\.ftx is -1/],
	] as [TrainerOptions, RegExp][])("options that can't be honoured: %j", async (options, message) => {
		await expect(train(options)).rejects.toThrow(message);
	});
});
