/** Direct preference optimization on the tiny checkpoint against TRL's DPOTrainer (test/reference/make_dpo.py), and its own properties there. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { memory } from "../../src/backend/tf.js";
import { type LoadModelOptions, loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { DpoOptions } from "../../src/trainer/dpo.js";
import { encodePair } from "../../src/trainer/encode-pair.js";
import type { PreferencePair } from "../../src/trainer/preference-pair.js";
import { Trainer, type TrainerOptions } from "../../src/trainer/trainer.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenPath } from "../fixtures/read-golden.js";

const numbers = z.array(z.number());
const reference = z
	.object({
		options: z.object({ beta: z.number(), learning_rate: z.number(), steps: z.number(), max_pixels: z.number(), smoothing: z.number() }),
		pairs: z.array(z.custom<PreferencePair>()),
		encoded: z.array(z.record(z.enum(["chosen", "rejected"]), z.object({ ids: numbers, labelled: z.tuple([z.number(), z.number()]) }))),
		runs: z.record(
			z.string(),
			z.object({
				steps: z.array(z.record(z.string(), z.number())),
				norms: z.record(z.string(), z.object({ l2: z.number(), change: z.number() })),
				values: z.record(z.string(), numbers),
			}),
		),
	})
	.parse(JSON.parse(readFileSync(new URL("../fixtures/dpo.json", import.meta.url), "utf8")));
const { options, pairs } = reference;

const load = (more: LoadModelOptions = {}) =>
	loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu", maxPixels: options.max_pixels, ...more });

async function train(dpo: DpoOptions, { lora, ...more }: TrainerOptions & { lora?: LoadModelOptions } = {}) {
	await using model = await load(lora);
	const parameters = model.namedParameters();
	const values = async () =>
		new Map(await Promise.all([...parameters].map(async ([name, p]) => [name, Array.from(await p.data())] as const)));
	const before = await values();
	const tensors = memory().numTensors;
	const { history } = await new Trainer(model, {
		...{ dpo, trainBatchSize: pairs.length, maxSteps: options.steps, maxEpochs: options.steps, learningRate: options.learning_rate },
		...{ lrScheduler: "constant", warmupSteps: 0, ...more },
	}).fit(pairs);
	expect(memory().numTensors).toBe(tensors);
	return { history, before, after: await values() };
}

const distance = (a: readonly number[], b: readonly number[]) => Math.hypot(...chunks(a.map((x, i) => x - b[i])));
function* chunks(values: readonly number[]): Generator<number> {
	for (let from = 0; from < values.length; from += 1024) yield Math.hypot(...values.slice(from, from + 1024));
}

/** Relative to TRL's, or to 1 where that is smaller. */
const off = (got: number, want: number) => Math.abs(got - want) / Math.max(1, Math.abs(want));

function expectTrl(name: string, { history, before, after }: Awaited<ReturnType<typeof train>>): void {
	const { steps, norms, values } = reference.runs[name];
	expect(history).toHaveLength(steps.length);
	for (const [i, { loss, grad_norm: gradNorm, ...metrics }] of steps.entries()) {
		expect(off(history[i].loss, loss), `loss of step ${i + 1}`).toBeLessThan(1e-4);
		expect(off(history[i].gradNorm, gradNorm), `gradient norm of step ${i + 1}`).toBeLessThan(1e-3);
		for (const [metric, want] of Object.entries(metrics)) {
			expect(off(history[i].metrics![metric], want), `${metric} of step ${i + 1}`).toBeLessThan(1e-3);
		}
	}
	expect([...after.keys()].sort()).toEqual(Object.keys(norms).sort());
	for (const [parameter, { change }] of Object.entries(norms)) {
		const moved = distance(after.get(parameter)!, before.get(parameter)!);
		expect(Math.abs(moved - change), parameter).toBeLessThan(Math.max(3e-2 * change, 1e-6));
	}
	for (const [parameter, want] of Object.entries(values)) {
		expect(distance(after.get(parameter)!, want) / norms[parameter].change, parameter).toBeLessThan(3e-2);
	}
}

describe.skipIf(nativeMissing)(`DPO on native-cpu (${nativeMissing ?? "staged"})`, () => {
	it("reads the tokens and labels that the reference had", async () => {
		await using model = await load();
		for (const [i, pair] of pairs.entries()) {
			const example = await encodePair(pair, i, model.processor, {});
			if (!("encoded" in example)) throw new Error(example.detail);
			for (const [side, { inputIds, assistantMask }] of [
				["chosen", example.encoded],
				["rejected", example.rejected],
			] as const) {
				const { ids, labelled } = reference.encoded[i][side];
				expect([...inputIds]).toEqual(ids);
				expect([assistantMask.indexOf(1), assistantMask.lastIndexOf(1) + 1]).toEqual(labelled);
			}
		}
	});

	const { beta, smoothing } = options;
	it.each<[string, DpoOptions, TrainerOptions]>([
		["sigmoid", { beta }, {}],
		["sigmoid", { beta }, { microTrainBatchSize: 4, gradientCheckpointing: true }],
		["sigmoid", { beta }, { eager: true, microTrainBatchSize: 2 }],
		["ipo", { beta, loss: "ipo" }, { microTrainBatchSize: 2 }],
		["hinge", { beta, loss: "hinge" }, { microTrainBatchSize: 4 }],
		["conservative", { beta, labelSmoothing: smoothing }, {}],
	])("has TRL's loss (1e-4), metrics (1e-3), gradient norm (1e-3) and updates (3 % of the change): %s %j %j", async (name, dpo, how) => {
		expectTrl(name, await train(dpo, how));
	});

	it("has TRL's with peft's adapter trained further, whose reference is the adapter as it begins", async () => {
		expectTrl("lora", await train({ beta }, { lora: { adapter: goldenPath("tiny-qwen2_5_vl-lora") }, microTrainBatchSize: 4 }));
	});

	it("resumed in graphs, has the same bits as a run that never stopped", async () => {
		const savePath = await mkdtemp(path.join(tmpdir(), "rft-dpo-"));
		try {
			const how = { savePath, saveSteps: 2, trainBatchSize: 3, microTrainBatchSize: 2 };
			const straight = await train({ ftx: 0.2 }, how);
			const resumed = await train({ ftx: 0.2 }, { ...how, resumeFromCheckpoint: path.join(savePath, "checkpoint-2") });
			expect(resumed.after).toEqual(straight.after);
			expect(resumed.history.map(({ metrics }) => metrics)).toEqual(straight.history.map(({ metrics }) => metrics));
		} finally {
			await rm(savePath, { recursive: true });
		}
	});

	it("a new adapter begins as its base: the loss of no difference, with dropout in training alone", async () => {
		const { history } = await train({}, { lora: { lora: { rank: 4, dropout: 0.3 } }, microTrainBatchSize: 2 });
		expect(history[0].loss).toBeCloseTo(Math.log(2), 5);
		expect(history.at(-1)!.loss).toBeLessThan(Math.log(2));
	});
});
