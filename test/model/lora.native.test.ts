/** A LoRA adapter in the model, against peft's numbers (test/reference/make_goldens.py, sec_lora) and its own properties. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
	eye,
	keep,
	memory,
	ones,
	randomNormal,
	slice,
	type Tensor2D,
	type Tensor3D,
	tensor1d,
	tidy,
	type Variable,
	variable,
} from "../../src/backend/tf.js";
import { bytesToFloat32 } from "../../src/checkpoint/dtype.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import type { ModelInputs } from "../../src/model/generative-model.js";
import { type LoadModelOptions, loadModel, saveModel } from "../../src/model/qwen2_5_vl/load.js";
import { mergeAdapter } from "../../src/model/qwen2_5_vl/merge-adapter.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { LowRank } from "../../src/nn/low-rank.js";
import { accumulateGradients, disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { AdamW } from "../../src/trainer/adamw.js";
import { MicroStep } from "../../src/trainer/micro-step.js";
import { splitLike } from "../../src/trainer/parameter-buckets.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";
import { examples, relativeL2 } from "../trainer/golden.suite.js";
import { inputsOf, realRows, relativeError } from "./qwen2_5_vl.golden.js";

const BASE = goldenPath("tiny-qwen2_5_vl");
const ADAPTER = goldenPath("tiny-qwen2_5_vl-lora");
const backend = "native-cpu" as const;
const load = (options: LoadModelOptions = {}, dir = BASE) => loadModel(dir, { backend, ...options });

async function logitsOf(model: Qwen2_5VLModel, inputs: ModelInputs): Promise<Float32Array> {
	const logits = await model.forward(inputs);
	try {
		return realRows((await logits.data()) as Float32Array, inputs.attentionMask.data, model.config.text.vocabSize);
	} finally {
		logits.dispose();
	}
}

async function last8(model: Qwen2_5VLModel, inputs: ModelInputs): Promise<Float32Array> {
	const logits = await model.forward(inputs);
	const [rows, length, vocab] = logits.shape;
	const tail = tidy(() => slice(logits, [0, length - 8, 0], [rows, 8, vocab]) as Tensor3D);
	const values = (await tail.data()) as Float32Array;
	logits.dispose();
	tail.dispose();
	return values;
}

/** Loss and gradients of the golden training batch, by parameter. */
async function gradientsOf(model: Qwen2_5VLModel, { gradientCheckpointing = false, eager = false, dropoutSeed = 0, rows = 2 } = {}) {
	const optimizer = new AdamW(model.namedParameters(), { eager: true });
	const { buckets } = optimizer;
	const microStep = new MicroStep(model, { buckets, gradientCheckpointing, eager });
	const { gradients, loss } = await accumulateGradients(model, await examples(), {
		...{ microTrainBatchSize: rows, microStep, buckets, dropoutSeedOf: () => dropoutSeed },
	});
	const named = new Map<string, Float32Array>();
	for (const [i, bucket] of buckets.entries()) {
		const parts = splitLike(gradients[i]!, bucket.variables);
		for (const [j, part] of parts.entries()) named.set(bucket.names[j], part.dataSync() as Float32Array);
		for (const part of parts) part.dispose();
	}
	disposeGradients(gradients);
	microStep.dispose();
	optimizer.dispose();
	return { loss, named };
}

/** Gives B values, so that an adapter that was made here does something. */
function fillB(model: Qwen2_5VLModel, std = 0.1): void {
	let seed = 0;
	for (const [name, variable] of model.namedParameters()) {
		if (!name.includes("lora_B")) continue;
		const values = tidy(() => keep(randomNormal(variable.shape, 0, std, "float32", ++seed)));
		variable.assign(values);
		values.dispose();
	}
}

describe.skipIf(nativeMissing)("LoRA", () => {
	let scratch: string;
	let inputs: ModelInputs;
	beforeAll(async () => {
		inputs = inputsOf(await golden("forward"));
	});
	beforeEach(async () => {
		scratch = await mkdtemp(join(tmpdir(), "rft-lora-"));
	});
	afterEach(() => rm(scratch, { recursive: true }));

	describe("peft's adapter", () => {
		let model: Qwen2_5VLModel;
		beforeAll(async () => {
			model = await load({ adapter: ADAPTER });
		});
		afterAll(() => model?.[Symbol.asyncDispose]());

		it("has peft's logits (1e-4 of the largest)", async () => {
			const want = (await golden("lora")).float("adapter_logits_last8").data;
			expect(relativeError(await last8(model, inputs), want)).toBeLessThan(1e-4);
		});

		it.each([
			["in graphs", {}],
			["op by op", { eager: true }],
			["with gradient checkpointing", { gradientCheckpointing: true }],
			["over two micro-batches", { rows: 1 }],
		])("has peft's loss (rel 1e-5) and gradients (rel 1e-3), %s", async (_, how) => {
			const want = await golden("lora");
			const { loss, named } = await gradientsOf(model, how);
			expect(Math.abs(loss / want.float("loss").data[0] - 1)).toBeLessThan(1e-5);
			expect(named.size).toBe(16);
			for (const [name, gradient] of named) {
				const theirs = `grad.base_model.model.${name.replace("model.", "model.language_model.")}`;
				expect(relativeL2(gradient, want.float(theirs).data), name).toBeLessThan(1e-3);
			}
		});
	});

	describe("a new adapter", () => {
		it("changes nothing before it is trained, with any dropout, and trains itself alone", async () => {
			await using plain = await load();
			await using model = await load({ lora: { rank: 4, dropout: 0.5 } });
			expect(await logitsOf(model, inputs)).toEqual(await logitsOf(plain, inputs));
			const names = [...model.namedParameters().keys()];
			expect(names).toHaveLength(2 * 50); // as peft counts them: see adapter-plan.test.ts
			expect(names.every((name) => /\.lora_[AB]\.weight$/.test(name))).toBe(true);
			const { named } = await gradientsOf(model, { eager: true });
			for (const [name, gradient] of named)
				expect(
					gradient.some((g) => g !== 0),
					name,
				).toBe(name.includes("lora_B"));
		});

		it("is drawn from its seed, in ±1/√in", async () => {
			const a = async (seed: number) => {
				await using model = await load({ lora: { rank: 4, targetModules: ["q_proj"], seed } });
				return [...model.namedParameters().values()].filter((_, i) => i % 2 === 0).map((v) => [...v.dataSync()]);
			};
			const [first, again, other] = [await a(1), await a(1), await a(2)];
			expect(again).toEqual(first);
			expect(other).not.toEqual(first);
			expect(first[0]).not.toEqual(first[1]);
			const largest = Math.max(...first.flat().map(Math.abs));
			expect(largest).toBeLessThanOrEqual(1 / 8);
			expect(largest).toBeGreaterThan(0.95 / 8);
		});

		it("goes to a folder and comes back to the bit, modules_to_save too, and leaks nothing", async () => {
			const before = memory().numTensors;
			const options = { rank: 2, alpha: 3, dropout: 0.25, targetModules: ["up_proj"], modulesToSave: ["merger"], useRslora: true } as const;
			let want: Float32Array;
			{
				await using model = await load({ lora: options });
				fillB(model);
				const merger = model.namedParameters().get("visual.merger.mlp.0.bias")!;
				merger.assign(tidy(() => keep(randomNormal(merger.shape, 0, 1, "float32", 7))));
				want = await logitsOf(model, inputs);
				await saveModel(model, scratch);
			}
			expect((await readdir(scratch)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
			expect(JSON.parse(await readFile(join(scratch, "adapter_config.json"), "utf8"))).toMatchObject({
				...{ peft_type: "LORA", r: 2, lora_alpha: 3, lora_dropout: 0.25, use_rslora: true },
				...{ target_modules: ["up_proj"], modules_to_save: ["merger"], base_model_name_or_path: BASE },
			});
			for (const [dir, options] of [
				[BASE, { adapter: scratch }],
				[scratch, {}],
			] as const) {
				await using model = await load(options, dir);
				expect(await logitsOf(model, inputs)).toEqual(want);
			}
			expect(memory().numTensors).toBe(before + 1); // the bias that was assigned above
		});

		it("says what does not fit", async () => {
			await saveModel(await load({ adapter: ADAPTER }), scratch);
			const file = join(scratch, "adapter_config.json");
			const json = JSON.parse(await readFile(file, "utf8"));
			await writeFile(
				file,
				JSON.stringify({ ...json, r: 8, target_modules: ["q_proj", "o_proj"], base_model_name_or_path: "elsewhere/base" }),
			);
			const all =
				/missing: .*layers\.0\.self_attn\.o_proj\.lora_A[\s\S]*unexpected: .*v_proj\.lora_A[\s\S]*shape: .*q_proj\.lora_A\.weight is \[4,64\].*\[8,64\]/;
			await expect(load({ adapter: scratch })).rejects.toThrow(all);
			await expect(load({}, scratch)).rejects.toThrow(
				/an adapter on elsewhere\/base, which is no checkpoint's folder here; load the base's/,
			);
			await expect(load({ adapter: BASE })).rejects.toThrow(/adapter_config.json: .*expected the folder of a PEFT adapter/);
			await expect(load({ adapter: ADAPTER, lora: {} })).rejects.toThrow(/trained further as it is/);
		});
	});

	describe("dropout", () => {
		it("is the seed's alone, in graphs, op by op and computed again, and not there without a seed", async () => {
			await using model = await load({ lora: { rank: 4, dropout: 0.5, targetModules: ["q_proj", "qkv", "down_proj"] } });
			fillB(model);
			const first = await gradientsOf(model, { dropoutSeed: 7 });
			for (const how of [{ eager: true }, { gradientCheckpointing: true }]) {
				const again = await gradientsOf(model, { ...how, dropoutSeed: 7 });
				expect(Math.abs(again.loss / first.loss - 1)).toBeLessThan(1e-5);
				for (const [name, gradient] of first.named) expect(relativeL2(again.named.get(name)!, gradient), name).toBeLessThan(1e-4);
			}
			const other = await gradientsOf(model, { dropoutSeed: 8 });
			expect(Math.abs(other.loss / first.loss - 1)).toBeGreaterThan(1e-4);
			expect(await logitsOf(model, inputs)).toEqual(await logitsOf(model, inputs));
		});

		it("leaves a part of 1 − rate, grown by 1 / (1 − rate), other in each matrix", async () => {
			const [a, b] = [variable(eye(64)), variable(eye(64))] as Variable[];
			const seed = tensor1d([3], "int32");
			const [one, two] = [0, 1].map((index) => new LowRank(a, b, { scaling: 1, dropout: 0.25, index }));
			const x = ones([500, 64]) as Tensor2D;
			const [kept, again, other] = [one.project(x, seed), one.project(x, seed), two.project(x, seed)].map((y) => y.dataSync());
			expect(new Set(kept)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
			const share = kept.filter((v) => v > 0).length / kept.length;
			expect(Math.abs(share - 0.75)).toBeLessThan(0.01); // 4 standard deviations
			expect(again).toEqual(kept);
			const same = kept.filter((v, i) => v === other[i]).length / kept.length;
			expect(Math.abs(same - (0.75 ** 2 + 0.25 ** 2))).toBeLessThan(0.015);
			for (const tensor of [a, b, seed, x]) tensor.dispose();
		});
	});

	describe("merged", () => {
		it("has peft's matrix and logits, and generates what the adapter does without being merged", async () => {
			const want = await golden("lora");
			await mergeAdapter(ADAPTER, scratch, { base: BASE, backend });
			const file = await openSafetensors(join(scratch, "model.safetensors"));
			const bytes = await file.read("model.layers.0.self_attn.q_proj.weight");
			await file.close();
			expect(relativeError(bytesToFloat32(bytes, "F32"), want.float("merged_q_proj_0").data)).toBeLessThan(1e-6);
			await using merged = await load({}, scratch);
			await using model = await load({ adapter: ADAPTER });
			expect(relativeError(await last8(merged, inputs), want.float("merged_logits_last8").data)).toBeLessThan(1e-4);
			const greedy = { maxNewTokens: 24, temperature: 0 };
			const { tokens } = await model.generate(inputs, greedy);
			expect(tokens).toEqual((await merged.generate(inputs, greedy)).tokens);
			await using plain = await load();
			expect((await plain.generate(inputs, greedy)).tokens).not.toEqual(tokens);
			const before = { tensors: memory().numTensors, graphs: model.signatures };
			expect((await model.generate(inputs, greedy)).tokens).toEqual(tokens);
			expect({ tensors: memory().numTensors, graphs: model.signatures }).toEqual(before);
		});
	});

	it.each([
		["bfloat16", 0.08],
		["int8", 0.2], // its rounding of the weights: see weight-matrix.test.ts for the gradient itself
	] as const)("has float32's gradients on a base in %s, whose matrices stay so", async (dtype, bound) => {
		const wide = await gradientsOf(await load({ adapter: ADAPTER }));
		await using model = await load({ adapter: ADAPTER, dtype, trainable: true });
		const got = await gradientsOf(model);
		expect(Math.abs(got.loss / wide.loss - 1)).toBeLessThan(0.02);
		const flat = (named: Map<string, Float32Array>) => [...named.values()].flatMap((g) => [...g]);
		expect(relativeL2(flat(got.named), flat(wide.named))).toBeLessThan(bound);
		const again = await gradientsOf(model, { gradientCheckpointing: true });
		expect(relativeL2(flat(again.named), flat(got.named))).toBeLessThan(0.02);
	});
});
