/** Evaluations while a bigram model trains: scores, the held-out loss, judgements and times, in events, results and logs. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import type { TrainingEvent } from "../../src/trainer/training-events.js";
import { BigramModel, BROKEN_IMAGE } from "../fakes/bigram-model.js";
import { rollout } from "../reward/rollouts.js";
import { judgement } from "../sampler/records.js";
import { readEvents } from "./read-events.js";

const say = (value: string, images: string[] = []) => ({
	conversations: [
		{ from: "human" as const, value: `${"<image>".repeat(images.length)}say` },
		{ from: "gpt" as const, value },
	],
	images,
});
const ROWS = ["abcabcabc", "xyzxyz", "hello hello", "mnmnmnmnmn", "0123456789", "zyx"].map((word) => say(word));
const FAST: TrainerOptions = { trainBatchSize: 3, learningRate: 0.05, maxEpochs: 3, warmupRatio: 0 };

let model: BigramModel;
let dir: string;
beforeAll(async () => {
	await selectBackend("cpu");
});
beforeEach(async () => {
	model = new BigramModel();
	dir = await mkdtemp(path.join(tmpdir(), "evaluator-"));
});
afterEach(async () => {
	await model[Symbol.asyncDispose]();
	await rm(dir, { recursive: true });
});

const train = (options: TrainerOptions) => {
	const events: TrainingEvent[] = [];
	const result = new Trainer(model, { ...FAST, ...options, onEvent: (event) => events.push(event) }).fit(ROWS);
	return result.then((done) => ({ ...done, events }));
};
const linesOf = async (...names: string[]) =>
	(await readFile(path.join(dir, ...names), "utf8"))
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line) as Record<string, number>);

describe("evaluation while training", () => {
	it("gives the held-out loss beside the callback's scores, at every evaluation, and it falls", async () => {
		const evaluate = async () => ({ accuracy: 0.5, saysImage1: Number.NaN });
		const before = memory().numTensors;
		const { evaluations, events } = await train({ evaluate, evalDataset: [say("abcabc"), say("xyz")], evalEvery: 2, logDir: dir });
		expect(memory().numTensors).toBe(before);
		expect(evaluations.map(({ step, scores }) => [step, Object.keys(scores)])).toEqual(
			[2, 4, 6].map((step) => [step, ["loss", "accuracy"]]),
		);
		expect(evaluations[2].scores.loss).toBeLessThan(evaluations[0].scores.loss);
		const seen = events.filter((event) => event.type === "eval");
		expect(seen.map(({ step, scores, judgements }) => ({ step, scores, judgements }))).toEqual(
			evaluations.map((evaluation) => ({ ...evaluation, judgements: [] })),
		);
		for (const { seconds } of seen) expect(seconds).toBeGreaterThan(0);
		const logged = (await linesOf("metrics.jsonl")).filter((line) => "eval/loss" in line);
		expect(logged.map((line) => [line.step, line["eval/loss"], line["eval/accuracy"]])).toEqual(
			evaluations.map(({ step, scores }) => [step, scores.loss, 0.5]),
		);
		for (const line of logged) expect(line["eval/seconds"]).toBeGreaterThan(0);
	});

	it("keeps the checkpoint of the least loss, without being told that less is better", async () => {
		const { best, evaluations } = await train({
			evalDataset: [say("abcabc")],
			evalEvery: 2,
			bestMetric: "loss",
			savePath: path.join(dir, "out"),
		});
		const least = Math.min(...evaluations.map(({ scores }) => scores.loss));
		expect(best).toMatchObject({ score: least, dir: path.join(dir, "out", `checkpoint-${best?.step}`) });
		expect(evaluations.find(({ step }) => step === best?.step)?.scores.loss).toBe(least);
	});

	it("says before the first step which held-out rows can't be used", async () => {
		const { events } = await train({ evalDataset: [say("a", [BROKEN_IMAGE]), say("b")] });
		expect(events[0]).toMatchObject({ type: "eval-dropped", row: 0, reason: "bad-image" });
	});

	it("logs the judgements that the callback gives", async () => {
		const judgements = [judgeRollout(rollout(0, judgement(2)))];
		const evaluate = async (_: unknown, step: number) => ({ scores: { accuracy: step / 10 }, judgements });
		const { evaluations, events } = await train({ evaluate, evalEvery: 3, logDir: dir });
		expect(evaluations).toEqual([3, 6].map((step) => ({ step, scores: { accuracy: step / 10 } })));
		expect(events.find((event) => event.type === "eval")?.judgements).toEqual(judgements);
		expect((await linesOf("judgements.jsonl")).map(({ step, completion }) => [step, completion])).toEqual(
			[3, 6].map((step) => [step, judgement(2)]),
		);
		const [name] = (await readdir(dir)).filter((file) => file.startsWith("events."));
		const values = readEvents(await readFile(path.join(dir, name))).flatMap(({ values }) => values);
		expect(values.filter(({ plugin }) => plugin === "text")).toHaveLength(2);
		expect(values.filter(({ plugin }) => plugin === "images")).toHaveLength(1);
	});

	it("resumes a log: one W&B object per step, and no judgement twice", async () => {
		const judgements = [judgeRollout(rollout(0, judgement(2)))];
		const evaluate = async () => ({ scores: { accuracy: 1 }, judgements });
		const logDir = path.join(dir, "logs");
		const options = { evaluate, evalEvery: 2, logDir, savePath: path.join(dir, "out"), saveSteps: 3 };
		await train(options);
		const rows = await linesOf("logs", "wandb-history.jsonl");
		expect(rows.map((row) => row._step)).toEqual([1, 2, 3, 4, 5, 6]);
		expect(rows.map((row) => row["eval/accuracy"])).toEqual([undefined, 1, undefined, 1, undefined, 1]);
		await train({ ...options, resumeFromCheckpoint: path.join(dir, "out", "checkpoint-3") });
		const again = await linesOf("logs", "wandb-history.jsonl");
		expect(again.map((row) => [row._step, row["train/loss"], row["eval/accuracy"]])).toEqual(
			rows.map((row) => [row._step, row["train/loss"], row["eval/accuracy"]]),
		);
		expect(again.map((row) => row._runtime)).toEqual(again.map((row) => row._runtime).toSorted((a, b) => a - b));
		expect((await linesOf("logs", "judgements.jsonl")).map(({ step }) => step)).toEqual([2, 4, 6]);
	});
});

describe("a step's cost", () => {
	it("is in the event and in the log, under names that tell the unit", async () => {
		const { events } = await train({ maxSteps: 2, logDir: dir });
		const steps = events.filter((event) => event.type === "step");
		const logged = await linesOf("metrics.jsonl");
		expect(steps).toHaveLength(2);
		for (const [i, step] of steps.entries()) {
			expect(step.samplesPerSecond).toBeCloseTo(3 / step.seconds, 6);
			expect(step.tokensPerSecond).toBeCloseTo(step.tokens / step.seconds, 6);
			expect(step.utilisation).toBeGreaterThan(0);
			expect(step.utilisation).toBeLessThanOrEqual(1);
			expect(step.residentBytes).toBeGreaterThan(20e6);
			expect(step.tensorBytes).toBeGreaterThanOrEqual(4 * 3 * (128 * 8 * 2 + 8 + 32)); // parameters and two moments
			expect(logged[i]).toMatchObject({
				"train/step_seconds": step.seconds,
				"train/samples_per_second": step.samplesPerSecond,
				"train/tokens_per_second": step.tokensPerSecond,
				"system/utilisation": step.utilisation,
				"system/resident_bytes": step.residentBytes,
				"system/tensor_bytes": step.tensorBytes,
			});
		}
	});
});
