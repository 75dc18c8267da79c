/** The loss of held-out conversations, on the bigram model: against the training loss, and of any split. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import type { DroppedRow } from "../../src/trainer/collate.js";
import { EvaluationLoss, type EvaluationLossOptions } from "../../src/trainer/evaluation-loss.js";
import type { Summing } from "../../src/trainer/gradient-exchange.js";
import type { ShareGptConversation } from "../../src/trainer/sharegpt.js";
import { Trainer } from "../../src/trainer/trainer.js";
import { BigramModel, BROKEN_IMAGE } from "../fakes/bigram-model.js";

const row = (value: string, images: string[] = []): ShareGptConversation => ({
	conversations: [
		{ from: "human", value: `${"<image>".repeat(images.length)}say` },
		{ from: "gpt", value },
	],
	images,
});
/** Answers of 1 to 64 characters, so that a mean of means would be another number. */
const ROWS = ["a", "zyx", "foo bar foo bar", "0123456789".repeat(6), "qrs"].map((answer, i) => row(answer, i % 2 ? ["a.png"] : []));

let model: BigramModel;
beforeAll(async () => {
	await selectBackend("cpu");
});
beforeEach(() => {
	model = new BigramModel();
});
afterEach(() => model[Symbol.asyncDispose]());

async function lossOf(rows: readonly ShareGptConversation[], options: EvaluationLossOptions = {}): Promise<number> {
	const evaluation = await EvaluationLoss.open(model, rows, options);
	try {
		return await evaluation.measure();
	} finally {
		evaluation.dispose();
	}
}

describe("EvaluationLoss", () => {
	it("is the loss that a training step over all rows reports, without its label smoothing and noise", async () => {
		const expected = await lossOf(ROWS);
		const step = await new Trainer(model, { trainBatchSize: ROWS.length, microTrainBatchSize: 2, maxSteps: 1 }).fit(ROWS);
		expect(Math.abs(step.finalLoss / expected - 1)).toBeLessThan(1e-6);
		const noisy = { trainBatchSize: ROWS.length, maxSteps: 1, labelSmoothing: 0.3, neftuneNoiseAlpha: 5 };
		const other = new BigramModel();
		const scores = await new Trainer(other, { ...noisy, learningRate: 1e-30, evalDataset: ROWS }).fit(ROWS);
		expect(Math.abs(scores.evaluations[0].scores.loss / expected - 1)).toBeLessThan(1e-6);
		expect(Math.abs(scores.finalLoss / expected - 1)).toBeGreaterThan(1e-3);
		await other[Symbol.asyncDispose]();
	});

	it("counts tokens, not conversations: of two parts it is the mean weighted by their labelled tokens", async () => {
		const [short, long] = [[ROWS[0]], [ROWS[3]]];
		const labels = [2, 61]; // characters and the turn's end
		const [a, b] = [await lossOf(short), await lossOf(long)];
		expect(await lossOf([...short, ...long])).toBeCloseTo((a * labels[0] + b * labels[1]) / (labels[0] + labels[1]), 5);
	});

	it("is the same for any batch size, and over several processes that share the rows", async () => {
		const expected = await lossOf(ROWS);
		for (const batchSize of [2, 5]) expect(await lossOf(ROWS, { batchSize })).toBeCloseTo(expected, 5);
		const losses = await together(3, (workers) => lossOf(ROWS, { workers }));
		expect(losses[0]).toBeCloseTo(expected, 5);
		expect(new Set(losses).size).toBe(1);
	});

	it("leaves out what can't be used, once and told, and refuses to have nothing", async () => {
		const dropped: DroppedRow[] = [];
		const rows = [row("b", [BROKEN_IMAGE]), ...ROWS, { conversations: [], images: [] }];
		expect(await lossOf(rows, { maxLength: 40, onDropped: (one) => dropped.push(one) })).toBeCloseTo(
			await lossOf([0, 1, 2, 4].map((i) => ROWS[i])),
			5,
		);
		expect(dropped.map(({ row, reason }) => [row, reason])).toEqual([
			[0, "bad-image"],
			[4, "too-long"],
			[6, "no-label"],
		]);
		await expect(lossOf([row("b", [BROKEN_IMAGE])])).rejects.toThrow(
			/evalDataset: expected at least one conversation with an answer, got none in 1 rows/,
		);
	});

	it("says which row can no longer be read", async () => {
		let image = "a.png";
		const evaluation = await EvaluationLoss.open(model, [row("a"), () => row("b", [image])]);
		expect(await evaluation.measure()).toBeGreaterThan(0);
		image = BROKEN_IMAGE;
		await expect(evaluation.measure()).rejects.toThrow(/evalDataset: row 1 could be used when training began and can't be now, bad-image/);
		evaluation.dispose();
	});

	it("leaves no tensor behind, and stops by its signal", async () => {
		const before = memory().numTensors;
		const stop = new AbortController();
		const evaluation = await EvaluationLoss.open(model, ROWS, { signal: stop.signal });
		await evaluation.measure();
		stop.abort(new Error("enough"));
		await expect(evaluation.measure()).rejects.toThrow("enough");
		evaluation.dispose();
		expect(memory().numTensors).toBe(before);
	});
});

/** The same work in several "processes", whose sums wait for each other. */
function together<T>(size: number, work: (workers: Summing) => Promise<T>): Promise<T[]> {
	let waiting: { values: readonly number[]; done: (sums: number[]) => void }[] = [];
	const sum = (values: readonly number[]) =>
		new Promise<number[]>((done) => {
			waiting.push({ values, done });
			if (waiting.length < size) return;
			const all = waiting;
			waiting = [];
			const sums = values.map((_, i) => all.reduce((total, one) => total + one.values[i], 0));
			for (const one of all) one.done(sums);
		});
	return Promise.all(Array.from({ length: size }, (_, rank) => work({ rank, size, sum })));
}
