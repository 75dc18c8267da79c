import { access, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import type { TrainingRow } from "../../src/trainer/collate.js";
import type { ShareGptConversation } from "../../src/trainer/sharegpt.js";
import { shuffledIndices } from "../../src/trainer/step-loader.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import { NonFiniteLossError, type TrainingEvent } from "../../src/trainer/training-events.js";
import { BigramModel, BROKEN_IMAGE } from "../fakes/bigram-model.js";

const WORDS = ["abcabcabc", "xyzxyz", "hello hello", "mnmnmnmnmn", "0123456789", "zyx", "foo bar foo bar", "qrs qrs"];

const row = (value: string, images: string[] = []): ShareGptConversation => ({
	conversations: [
		{ from: "human", value: `${"<image>".repeat(images.length)}say` },
		{ from: "gpt", value },
	],
	images,
});
const ROWS = WORDS.map((word, i) => row(word, i % 2 ? ["a.png"] : []));
const FAST: TrainerOptions = { trainBatchSize: 3, learningRate: 0.05, maxEpochs: 4, warmupRatio: 0 };

let model: BigramModel;
let dir: string;
beforeAll(async () => {
	await selectBackend("cpu");
});
beforeEach(async () => {
	model = new BigramModel();
	dir = await mkdtemp(path.join(tmpdir(), "trainer-"));
});
afterEach(async () => {
	await model[Symbol.asyncDispose]();
	await rm(dir, { recursive: true });
});

const collect = (options: TrainerOptions) => {
	const events: TrainingEvent[] = [];
	return { events, options: { ...options, onEvent: (event: TrainingEvent) => events.push(event) } };
};
const difference = (a: number[], b: number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i])));

async function trained(rows: Iterable<TrainingRow> | AsyncIterable<TrainingRow>, options: TrainerOptions): Promise<number[]> {
	const fresh = new BigramModel();
	await new Trainer(fresh, options).fit(rows);
	const values = await fresh.values();
	await fresh[Symbol.asyncDispose]();
	return values;
}

describe("learning", () => {
	it("brings the loss down and reports every step", async () => {
		const { events, options } = collect({ ...FAST, maxEpochs: 10, learningRate: 0.2 });
		const result = await new Trainer(model, options).fit(ROWS);
		expect(result.steps).toBe(30);
		expect(result.history).toHaveLength(30);
		expect(result.finalLoss).toBeLessThan(result.history[0].loss / 2);
		expect(result.finalLoss).toBe(result.history[29].loss);
		const steps = events.filter((e) => e.type === "step");
		expect(steps.map((e) => e.step)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
		expect(steps[29]).toMatchObject({ totalSteps: 30, etaSeconds: 0, epoch: 9 });
		expect(steps[3].tokensPerSecond).toBeGreaterThan(0);
		expect(events.filter((e) => e.type === "epoch").map((e) => e.epoch)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
	});

	it("starts at log V nats for a model that knows nothing", async () => {
		for (const [name, v] of model.namedParameters()) if (name === "lm_head.weight") v.assign(v.mul(0));
		const result = await new Trainer(model, { ...FAST, maxSteps: 1 }).fit(ROWS);
		expect(result.finalLoss).toBeCloseTo(Math.log(128), 4);
	});

	it("is the same whatever the micro-batch size", async () => {
		const single = await trained(ROWS, { ...FAST, microTrainBatchSize: 1 });
		expect(difference(single, await trained(ROWS, { ...FAST, microTrainBatchSize: 3 }))).toBeLessThan(1e-5);
		expect(difference(single, await trained(ROWS, { ...FAST, microTrainBatchSize: 2 }))).toBeLessThan(1e-5);
	});

	it("depends on the seed, and on nothing else that is random", async () => {
		const first = await trained(ROWS, { ...FAST, seed: 7 });
		Math.random();
		expect(await trained(ROWS, { ...FAST, seed: 7 })).toEqual(first);
		expect(await trained(ROWS, { ...FAST, seed: 8 })).not.toEqual(first);
	});

	it("takes async iterables, messages, encoded conversations and functions, all to the same end", async () => {
		const options = { ...FAST, maxSteps: 4 };
		const rows = WORDS.map((word) => row(word));
		const messages = WORDS.map((word) => ({
			messages: [
				{ role: "user" as const, content: "say" },
				{ role: "assistant" as const, content: word },
			],
		}));
		const encoded = await Promise.all(messages.map(async (m) => ({ encoded: await model.processor.encodeConversation(m.messages) })));
		const expected = await trained(rows, options);
		async function* stream() {
			yield* rows;
		}
		expect(await trained(stream(), options)).toEqual(expected);
		expect(await trained(messages, options)).toEqual(expected);
		expect(await trained(encoded, options)).toEqual(expected);
		expect(
			await trained(
				messages.map((m) => async () => m),
				options,
			),
		).toEqual(expected);
	});

	it("leaves alone what no gradient reaches: the vision tower, in a run without images", async () => {
		const before = await model.namedParameters().get("visual.weight")!.data();
		await new Trainer(model, FAST).fit(WORDS.map((word) => row(word)));
		expect(await model.namedParameters().get("visual.weight")!.data()).toEqual(before);
	});

	it("leaves no tensor behind, and makes none from step to step", async () => {
		const before = memory().numTensors;
		const counts = new Set<number>();
		await new Trainer(model, { ...FAST, microTrainBatchSize: 2, onEvent: (e) => e.type === "step" && counts.add(memory().numTensors) }).fit(
			ROWS,
		);
		expect(counts.size).toBe(1);
		expect(memory().numTensors).toBe(before);
	});

	it("lets the event loop breathe between micro-batches", async () => {
		let turns = 0;
		let running = true;
		const tick = () => {
			turns++;
			if (running) setImmediate(tick);
		};
		tick();
		await new Trainer(model, { ...FAST, maxSteps: 4 }).fit(ROWS);
		running = false;
		expect(turns).toBeGreaterThanOrEqual(12);
	});
});

describe("rows that can't be trained on", () => {
	it("drops and reports each once, with its row, key and reason, and trains on the rest", async () => {
		const provenance = { key: "k1", source: "s", row: 0, order: [0, 1] as const, sampleIndex: 0, seed: 0, preferred: 0 as const };
		const rows = [...ROWS, row("y".repeat(90)), { ...row("x", [BROKEN_IMAGE]), provenance }, { conversations: [], images: [] }];
		const { events, options } = collect({ ...FAST, promptMaxLen: 60 });
		const { dropped, steps } = await new Trainer(model, options).fit(rows);
		expect(steps).toBe(16);
		expect(dropped.sort((a, b) => a.row - b.row)).toEqual([
			{ row: 8, key: undefined, reason: "too-long", detail: "95 tokens; at most 60 are allowed" },
			{ row: 9, key: "k1", reason: "bad-image", detail: "broken.png: not an image" },
			{ row: 10, key: undefined, reason: "no-label", detail: "no assistant turn to learn from" },
		]);
		expect(events.filter((e) => e.type === "dropped")).toHaveLength(3);
	});

	it("has no last loss where each step's rows were dropped", async () => {
		const [first] = shuffledIndices(2, 42, 0);
		const rows = [0, 1].map((i) => (i === first ? row("a", [BROKEN_IMAGE]) : row("b")));
		const result = await new Trainer(model, { ...FAST, trainBatchSize: 1, maxSteps: 1 }).fit(rows);
		expect(result).toMatchObject({ steps: 1, finalLoss: Number.NaN, history: [] });
	});

	it("fails when none is left, naming the first", async () => {
		await expect(new Trainer(model, FAST).fit([row("a", [BROKEN_IMAGE])])).rejects.toThrow(/none of 1 rows.*row 0: bad-image/);
		await expect(new Trainer(model, FAST).fit([])).rejects.toThrow(/no rows to train on/);
	});

	it("refuses a row that contradicts itself before the first step", async () => {
		const { events, options } = collect(FAST);
		const wrong = { ...row("a", ["a.png", "b.png"]), images: ["a.png"] };
		await expect(new Trainer(model, options).fit([...ROWS, wrong])).rejects.toThrow(/row 8: 2 <image> placeholders but 1 images/);
		expect(events).toEqual([]);
	});

	it("refuses counts that are none", async () => {
		for (const wrong of [{ trainBatchSize: 0 }, { trainBatchSize: 2.5 }, { saveTotalLimit: 0 }, { maxSteps: Number.NaN }]) {
			await expect(new Trainer(model, wrong).fit(ROWS)).rejects.toThrow(/ is (0|2\.5|NaN); expected a whole number, 1 or more/);
		}
	});
});

describe("a loss that is not a number", () => {
	it("stops before the update, names the rows and keeps the last good checkpoint", async () => {
		model.poisonPass = 6; // the third step's second micro-batch
		let lastGood: number[] = [];
		const options: TrainerOptions = {
			...{ ...FAST, trainBatchSize: 2, microTrainBatchSize: 1, savePath: dir, saveSteps: 2 },
			evaluate: async () => {
				lastGood = await model.values();
				return {};
			},
			evalEvery: 1,
		};
		const error = await new Trainer(model, options).fit(ROWS).catch((e: unknown) => e);
		expect(error).toBeInstanceOf(NonFiniteLossError);
		if (!(error instanceof NonFiniteLossError)) return;
		expect(error.step).toBe(3);
		expect(error.rows).toHaveLength(1);
		expect(error.message).toContain(`row ${error.rows[0].row}`);
		expect(error.lastCheckpoint).toBe(path.join(dir, "checkpoint-2"));
		expect(await model.values()).toEqual(lastGood);
		await access(path.join(dir, "checkpoint-2", "model.json"));
	});
});

describe("checkpoints", () => {
	it("keeps the newest, whole, and the final model at the root", async () => {
		const { events, options } = collect({ ...FAST, savePath: dir, saveSteps: 2, saveTotalLimit: 2 });
		await new Trainer(model, options).fit(ROWS);
		expect((await readdir(dir)).sort()).toEqual(["checkpoint-10", "checkpoint-12", "model.json"]);
		expect((await readdir(path.join(dir, "checkpoint-12"))).sort()).toEqual([
			...["checksums.json", "model.json", "optimizer.safetensors", "trainer_state.json"],
		]);
		expect(events.filter((e) => e.type === "checkpoint").map((e) => e.step)).toEqual([2, 4, 6, 8, 10, 12]);
	});

	it("goes on from a checkpoint exactly as if it had never stopped", async () => {
		const straight = await new Trainer(model, { ...FAST, savePath: dir, saveSteps: 5 }).fit(ROWS);
		const expected = await model.values();
		const other = new BigramModel(99);
		const before = memory().numTensors;
		const resumed = await new Trainer(other, { ...FAST, resumeFromCheckpoint: path.join(dir, "checkpoint-5") }).fit(ROWS);
		expect(memory().numTensors).toBe(before);
		expect(await other.values()).toEqual(expected);
		const losses = (r: typeof resumed) => r.history.map(({ step, loss, learningRate }) => ({ step, loss, learningRate }));
		expect(losses(resumed)).toEqual(losses(straight));
		await other[Symbol.asyncDispose]();
	});

	it.each([
		["seed", { ...FAST, seed: 1 }, /seed was 42 and is now 1/],
		["trainBatchSize", { ...FAST, trainBatchSize: 2 }, /trainBatchSize was 3 and is now 2/],
	])("refuses to resume with another %s", async (_, options, message) => {
		await new Trainer(model, { ...FAST, savePath: dir, saveSteps: 2, maxSteps: 2 }).fit(ROWS);
		const resume = new Trainer(model, { ...options, resumeFromCheckpoint: path.join(dir, "checkpoint-2") });
		await expect(resume.fit(ROWS)).rejects.toThrow(message);
	});

	it("saves one when it is aborted, throws the reason, and can go on", async () => {
		const expected = await trained(ROWS, { ...FAST, microTrainBatchSize: 1 });
		const abort = new AbortController();
		const onEvent = (e: TrainingEvent) => e.type === "step" && e.step === 4 && abort.abort(new Error("Ctrl-C"));
		const before = memory().numTensors;
		const run = new Trainer(model, { ...FAST, savePath: dir, signal: abort.signal, onEvent }).fit(ROWS);
		await expect(run).rejects.toThrow("Ctrl-C");
		expect(memory().numTensors).toBe(before);
		expect(await readdir(dir)).toEqual(["checkpoint-4"]);
		await new Trainer(model, { ...FAST, resumeFromCheckpoint: path.join(dir, "checkpoint-4") }).fit(ROWS);
		expect(await model.values()).toEqual(expected);
	});
});

describe("evaluation and metrics", () => {
	it("evaluates every evalEvery steps and after the last", async () => {
		const evaluate = async (m: unknown, step: number) => ({ accuracy: step / 100, same: m === model ? 1 : 0 });
		const { evaluations } = await new Trainer(model, { ...FAST, evaluate, evalEvery: 5, logDir: dir }).fit(ROWS);
		expect(evaluations).toEqual([5, 10, 12].map((step) => ({ step, scores: { accuracy: step / 100, same: 1 } })));
		const lines = (await readFile(path.join(dir, "metrics.jsonl"), "utf8"))
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line));
		expect(lines).toHaveLength(15);
		expect(lines[0]).toMatchObject({
			step: 1,
			"train/loss": expect.any(Number),
			"train/learning_rate": 0.05,
			"train/grad_norm": expect.any(Number),
		});
		expect(lines[14]).toMatchObject({ step: 12, "eval/accuracy": 0.12 });
		expect((await readdir(dir)).filter((name) => name.startsWith("events.out.tfevents."))).toHaveLength(1);
	});
});
