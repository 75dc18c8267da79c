/** Packing, NEFTune and freezing on the golden multimodal model: attention within a conversation, M-RoPE positions of its own. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBfloat16 } from "../../src/backend/bfloat16.js";
import { memory, tidy } from "../../src/backend/tf.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { type AccumulateOptions, accumulateGradients, disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { AdamW } from "../../src/trainer/adamw.js";
import type { TrainingExample } from "../../src/trainer/collate.js";
import { frozenBy, holdFrozen, trainableParameters } from "../../src/trainer/freeze.js";
import { MicroStep } from "../../src/trainer/micro-step.js";
import { packExamples } from "../../src/trainer/pack-examples.js";
import { Trainer } from "../../src/trainer/trainer.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenPath } from "../fixtures/read-golden.js";
import { examples as goldenExamples } from "./golden.suite.js";

const relativeL2 = (got: ArrayLike<number>, want: ArrayLike<number>) => {
	let [difference, size] = [0, 0];
	for (let i = 0; i < want.length; i++) {
		difference += (got[i] - want[i]) ** 2;
		size += want[i] ** 2;
	}
	return Math.sqrt(difference / size);
};

describe.skipIf(nativeMissing)(`on native-cpu (${nativeMissing ?? "staged"})`, () => {
	let model: Qwen2_5VLModel;
	let optimizer: AdamW;
	/** Two with two images each, a text alone, and the first without its last turn's end: four lengths. */
	let examples: TrainingExample[];
	beforeAll(async () => {
		model = await loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu" });
		optimizer = new AdamW(model.namedParameters());
		const [first, second] = await goldenExamples();
		const text = await model.processor.encodeConversation([
			{ role: "user", content: "Which is better?" },
			{ role: "assistant", content: "The second." },
		]);
		const { inputIds, assistantMask, images } = first.encoded;
		const shorter = { inputIds: inputIds.slice(0, -1), assistantMask: assistantMask.slice(0, -1), images };
		examples = [first, second, { row: 2, encoded: text }, { row: 3, encoded: shorter }];
	});
	afterAll(async () => {
		optimizer?.dispose();
		await model?.[Symbol.asyncDispose]();
	});

	async function accumulated(options: Partial<AccumulateOptions>, { eager = false, gradientCheckpointing = false } = {}) {
		const { buckets } = optimizer;
		const microStep = new MicroStep(model, { buckets, eager, gradientCheckpointing });
		const { gradients, ...rest } = await accumulateGradients(model, examples, {
			...{ microTrainBatchSize: 1, microStep, buckets },
			...options,
		});
		const values = await Promise.all(gradients.map((gradient) => gradient!.data()));
		disposeGradients(gradients);
		microStep.dispose();
		return { values, ...rest };
	}

	it.each([
		["all in one row", { packing: { maxTokens: 10_000 } }, {}],
		["all in one row, eager", { packing: { maxTokens: 10_000 } }, { eager: true }],
		["all in one row, with gradient checkpointing", { packing: { maxTokens: 10_000 } }, { gradientCheckpointing: true }],
		["in rows of the longest's length, in one batch", { packing: {}, microTrainBatchSize: 4 }, {}],
	] as const)("packed conversations have the loss (rel 1e-6) and gradients (rel 1e-5) of unpacked ones: %s", async (_, options, how) => {
		const before = memory().numTensors;
		const [want, got] = [await accumulated({}), await accumulated(options, how)];
		expect(Math.abs(got.loss / want.loss - 1)).toBeLessThan(1e-6);
		for (const [i, gradient] of want.values.entries()) expect(relativeL2(got.values[i], gradient)).toBeLessThan(1e-5);
		expect(memory().numTensors).toBe(before);
	});

	it("would not without borders: attention and positions are what makes them equal", async () => {
		const want = await accumulated({});
		const [{ encoded }] = packExamples(examples, 10_000);
		const { segmentLengths: _, ...joined } = encoded;
		const microStep = new MicroStep(model, { buckets: optimizer.buckets });
		const { loss, gradients } = await accumulateGradients(model, [{ row: 0, encoded: joined }], {
			...{ microTrainBatchSize: 1, microStep, buckets: optimizer.buckets },
		});
		expect(Math.abs(loss / want.loss - 1)).toBeGreaterThan(1e-3);
		disposeGradients(gradients);
		microStep.dispose();
	});

	it("NEFTune's noise is the same in any split, packed too, differs by seed, and is within ± alpha / √(tokens · channels)", async () => {
		const noisy = (seed: number, options: Partial<AccumulateOptions> = {}) =>
			accumulated({ embeddingNoise: { alpha: 5, seedOf: ({ row }) => row + seed }, ...options });
		const [plain, want] = [await accumulated({}), await noisy(1)];
		expect(Math.abs(want.loss / plain.loss - 1)).toBeGreaterThan(1e-4);
		for (const options of [{ microTrainBatchSize: 4 }, { packing: { maxTokens: 10_000 } }]) {
			expect(Math.abs((await noisy(1, options)).loss / want.loss - 1)).toBeLessThan(1e-6);
		}
		expect((await noisy(2)).loss).not.toBe(want.loss);
		expect((await noisy(1)).loss).toBe(want.loss);

		const inputs = model.processor.collate([examples[0].encoded], { paddingSide: "right", padToMultipleOf: 64 });
		const channels = model.config.text.hiddenSize;
		const bound = 5 / Math.sqrt(examples[0].encoded.inputIds.length * channels);
		const [noise, kept] = tidy(() => {
			const prepared = model.prepare(inputs, { embeddingNoise: { alpha: 5, seeds: [7] } });
			const without = model.prepare(inputs);
			const features = model.visual.forward(prepared.vision!, {});
			const difference = model.embed(prepared, features).sub(model.embed(without, features));
			return [prepared.noise!.dataSync() as Float32Array, difference.dataSync() as Float32Array];
		});
		const drawn = noise.slice(0, examples[0].encoded.inputIds.length * channels);
		expect(Math.max(...drawn.map(Math.abs))).toBeLessThanOrEqual(bound * 1.000001);
		const deviation = Math.sqrt(drawn.reduce((sum, x) => sum + x * x, 0) / drawn.length);
		expect(deviation / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
		// Padding has none; image features replace what was added to their placeholders, as in transformers' hook on the embedding.
		expect(noise.slice(drawn.length).every((x) => x === 0)).toBe(true);
		inputs.inputIds.data.forEach((id, t) => {
			const isImage = id === model.config.imageTokenId;
			for (let c = 0; c < channels; c++) expect(kept[t * channels + c]).toBeCloseTo(isImage ? 0 : noise[t * channels + c], 5);
		});
	});

	it.each([false, true])("frozen parameters have no gradient, the others the same (checkpointing: %s)", async (gradientCheckpointing) => {
		const all = await accumulated({});
		const parameters = trainableParameters(model.namedParameters(), ["vision_tower", "embeddings", "model\\.layers\\.0\\..*"]);
		const thaw = holdFrozen(model.namedParameters(), parameters);
		const few = new AdamW(parameters);
		const microStep = new MicroStep(model, { buckets: few.buckets, gradientCheckpointing });
		const { gradients } = await accumulateGradients(model, examples, { microTrainBatchSize: 1, microStep, buckets: few.buckets });
		const named = (buckets: AdamW["buckets"], values: (Float32Array | Int32Array | Uint8Array)[]) =>
			new Map(
				buckets.flatMap(({ names, sizes }, i) => {
					let at = 0;
					return names.map((name, j) => {
						at += sizes[j];
						return [name, values[i].slice(at - sizes[j], at)] as const;
					});
				}),
			);
		const want = named(optimizer.buckets, all.values);
		const got = named(few.buckets, await Promise.all(gradients.map((gradient) => gradient!.data())));
		expect([...got.keys()].sort()).toEqual([...parameters.keys()].sort());
		expect(got.size).toBeLessThan(want.size);
		for (const [name, gradient] of got) expect(relativeL2(gradient, want.get(name)!), name).toBeLessThan(1e-5);
		disposeGradients(gradients);
		microStep.dispose();
		few.dispose();
		thaw();
		expect([...model.namedParameters().values()].every(({ trainable }) => trainable)).toBe(true);
	});

	it("in bfloat16, what is loaded frozen has no float32 copy, stays as it is and can't be trained", async () => {
		const freeze = ["visual.*", "embeddings"];
		const load = () =>
			loadModel(goldenPath("tiny-qwen2_5_vl"), { backend: "native-cpu", dtype: "bfloat16", trainable: true, frozen: frozenBy(freeze) });
		await using narrow = await load();
		const frozen = [...narrow.namedParameters()].filter(([name]) => frozenBy(freeze)(name));
		const matrices = frozen.filter(([, { shape }]) => shape.length > 1);
		expect(matrices.length).toBeGreaterThan(20);
		for (const [name, parameter] of matrices) expect(isBfloat16(parameter), name).toBe(true);
		const norms = frozen.filter(([, { shape }]) => shape.length === 1);
		const before = await Promise.all(norms.map(async ([, parameter]) => Array.from(await parameter.data())));
		const rows = examples.map(({ encoded }) => ({ encoded }));
		const options = {
			trainBatchSize: 4,
			microTrainBatchSize: 4,
			learningRate: 1e-2,
			maxEpochs: 4,
			warmupRatio: 0,
			gradientCheckpointing: true,
		};
		const { history } = await new Trainer(narrow, { ...options, freeze }).fit(rows);
		expect(history[3].loss).toBeLessThan(history[0].loss);
		expect(await Promise.all(norms.map(async ([, parameter]) => Array.from(await parameter.data())))).toEqual(before);
		await expect(new Trainer(narrow, options).fit(rows)).rejects.toThrow(/was loaded frozen, without float32 weights/);
	});
});
