/** The plan's arithmetic; bench/plan.ts compares its memory with measured peaks. */
import { describe, expect, it } from "vitest";
import { readModelShape } from "../../src/model/qwen2_5_vl/shape.js";
import { formatTrainingPlan } from "../../src/trainer/format-training-plan.js";
import { type PlanTrainingOptions, planTraining } from "../../src/trainer/plan-training.js";
import { surveyRows } from "../../src/trainer/survey-rows.js";

const published = (size: string) => readModelShape(`test/fixtures/qwen2_5_vl-configs/${size}.json`);
const GIB = 2 ** 30;
const ROWS: PlanTrainingOptions = { rows: 5000, longestRow: 1200, memory: 1000 * GIB };

describe("published configurations", () => {
	// As counted by others on the published checkpoints; 72B's is known to four digits only.
	it.each([
		["3B", 3_754_622_976],
		["7B", 8_292_166_656],
		["32B", 33_452_718_336],
		["72B", 73_410_777_344],
	])("%s has %d parameters", async (size, parameters) => {
		const plan = planTraining(await published(size), ROWS);
		expect(plan.parameters).toBe(parameters);
		expect(plan.trainableShare).toBe(1);
		// Float32 weights, two moments and a gradient are the least that AdamW needs.
		expect(plan.memory.peak).toBeGreaterThan(16 * parameters);
		expect(plan.memory.peak).toBeLessThan(32 * parameters);
	});

	it("a folder's own config.json is read, and a missing one named", async () => {
		const judge = planTraining(await readModelShape("examples/judge"), ROWS);
		expect(judge.parameters).toBeGreaterThan(1e6);
		expect(judge.parameters).toBeLessThan(1.1e6);
		await expect(readModelShape("nowhere")).rejects.toThrow(/nowhere.*no such file; expected a config.json/);
	});
});

describe("what changes the plan", () => {
	const plan = async (options: Partial<PlanTrainingOptions>) => planTraining(await published("3B"), { ...ROWS, ...options });

	it("gradient checkpointing exchanges the two activations", async () => {
		const [off, on] = [await plan({}), await plan({ gradientCheckpointing: true })];
		expect([on.memory.activations, on.memory.activationsOtherwise]).toEqual([off.memory.activationsOtherwise, off.memory.activations]);
		expect(on.memory.activations).toBeLessThan(off.memory.activations / 4);
		// The forward pass is run again: 4 passes for 3, but for the head's.
		expect(on.flops / off.flops).toBeGreaterThan(1.25);
		expect(on.flops / off.flops).toBeLessThan(1.34);
	});

	it("Adafactor keeps a row and a column of each matrix, AdamW two moments of all", async () => {
		const [adamw, adafactor] = [await plan({}), await plan({ optimizer: "adafactor" })];
		expect(adamw.memory.optimizer).toBe(8 * adamw.parameters);
		expect(adafactor.memory.optimizer).toBeLessThan(adamw.memory.optimizer / 500);
	});

	it("processes share out moments, then gradients", async () => {
		const one = { trainBatchSize: 64, processes: 8 };
		const [whole, moments, gradients] = [await plan(one), await plan({ ...one, zeroStage: 1 }), await plan({ ...one, zeroStage: 2 })];
		expect(whole.memory).toEqual((await plan({ trainBatchSize: 64 })).memory);
		expect(moments.memory).toEqual({
			...whole.memory,
			optimizer: whole.memory.optimizer / 8,
			peak: whole.memory.peak - (7 / 8) * whole.memory.optimizer,
		});
		expect(gradients.memory.optimizer).toBe(moments.memory.optimizer);
		expect(gradients.memory.gradients).toBe(5 * whole.parameters); // on their way, and two shards of an eighth
	});

	it("what is frozen has neither moments nor gradients, and in bfloat16 no float32 weights", async () => {
		const freeze = ["vision_tower", "merger"];
		const [all, frozen, narrow] = [await plan({}), await plan({ freeze }), await plan({ freeze, dtype: "bfloat16" })];
		const tower = all.parameters - frozen.trainable;
		expect(tower / 1e6).toBeCloseTo(668.7, 0); // the published tower with its merger
		expect(all.memory.optimizer - frozen.memory.optimizer).toBe(8 * tower);
		expect(frozen.memory.weights).toBe(all.memory.weights);
		expect(narrow.memory.weights).toBe(6 * frozen.trainable + 2 * tower);
		await expect(plan({ freeze: ["visaul.*"] })).rejects.toThrow(/fits none/);
	});

	it("steps, tokens and time follow from rows, batches and the throughput", async () => {
		const steps = await plan({ trainBatchSize: 32, maxEpochs: 2, meanRow: 1000, tokensPerSecond: 500 });
		expect(steps.steps).toBe(2 * Math.ceil(5000 / 32));
		expect([steps.tokens, steps.seconds]).toEqual([10_000_000, 20_000]);
		const few = await plan({ maxSteps: 10, flopsPerSecond: 1e12 });
		expect([few.steps, few.tokens]).toEqual([10, 96_000]);
		// 6 operations per parameter and token, the embeddings' look-up and attention aside.
		expect(few.flops / (6 * 96_000 * few.parameters)).toBeGreaterThan(0.7);
		expect(few.flops / (6 * 96_000 * few.parameters)).toBeLessThan(1.5);
		expect(few.seconds).toBeCloseTo(few.flops / 5e11, 3);
		expect((await plan({})).seconds).toBeUndefined();
	});

	it("says what to change where it doesn't fit, in order and to the first that does", async () => {
		const tight = await plan({ memory: 45 * GIB, microTrainBatchSize: 4 });
		expect(tight.fits).toBe(false);
		expect(tight.changes.map(({ change }) => change)).toEqual([
			"--gradient_checkpointing",
			"--micro_train_batch_size 1",
			"--optim adafactor",
		]);
		expect(tight.changes.at(-1)?.peak).toBeLessThan(45 * GIB);
		const hopeless = await plan({ memory: GIB });
		expect(hopeless.changes.at(-1)?.change).toMatch(/freeze/);
		expect(formatTrainingPlan(hopeless)).toMatch(/it does not fit[\s\S]*it takes another machine/);
		expect(formatTrainingPlan(await plan({ tokensPerSecond: 500 }))).toMatch(/3\.75 B[\s\S]*: it fits[\s\S]*/);
	});
});

describe("the survey of rows", () => {
	const row = (question: string, answer: string, images = 0) => ({
		conversations: [
			{ from: "human" as const, value: `${"<image>".repeat(images)}${question}` },
			{ from: "gpt" as const, value: answer },
		],
		images: Array.from({ length: images }, (_, i) => `${i}.png`),
	});

	it("without a tokenizer counts characters, placeholders not among them", async () => {
		const survey = await surveyRows([row("x".repeat(40), "y".repeat(20), 2), row("x".repeat(8), "y".repeat(4))], undefined, {
			tokensPerImage: 100,
		});
		expect(survey).toEqual({
			...{ rows: 2, longestRow: 215, meanRow: (215 + 3) / 2, labelledPerRow: 3, imagesPerRow: 1, tokensPerImage: 100, encoded: 0 },
		});
		await expect(surveyRows([], undefined)).rejects.toThrow(/at least one conversation/);
	});
});
