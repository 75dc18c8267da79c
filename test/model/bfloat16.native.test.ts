/**
 * The model in bfloat16 against transformers' float32 and its own bfloat16 (test/reference/make_goldens.py and make_bf16.py): a port is right if it
 * is no farther from float32 than the reference in the same type, within a factor that is stated.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { isBfloat16 } from "../../src/backend/bfloat16.js";
import { compile } from "../../src/backend/graph/compile.js";
import { currentNativeBackend } from "../../src/backend/native-binding.js";
import { memory, reshape, tidy } from "../../src/backend/tf.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { loadModel, saveModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { accumulateGradients, disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { AdamW } from "../../src/trainer/adamw.js";
import { clipFactor } from "../../src/trainer/clip-grad-norm.js";
import { MicroStep, type MicroStepOptions } from "../../src/trainer/micro-step.js";
import { splitLike } from "../../src/trainer/parameter-buckets.js";
import { Trainer } from "../../src/trainer/trainer.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";
import { examples } from "../trainer/golden.suite.js";
import { inputsOf, realRows } from "./qwen2_5_vl.golden.js";

const CHECKPOINT = goldenPath("tiny-qwen2_5_vl");
const BACKEND = { backend: "native-cpu" } as const;

const errorAndCosine = z.tuple([z.number(), z.number()]);
const reference = z.object({
	greedy: z.array(z.array(z.number())),
	step_losses: z.array(z.number()),
	loss: z.object({ float32: z.number(), autocast: z.number() }),
	gradients: z.record(z.string(), errorAndCosine),
});

/** Largest and root mean square difference. */
function difference(got: Float32Array, want: Float32Array): { max: number; rmse: number } {
	expect(got.length).toBe(want.length);
	let [max, squares] = [0, 0];
	for (let i = 0; i < got.length; i++) {
		max = Math.max(max, Math.abs(got[i] - want[i]));
		squares += (got[i] - want[i]) ** 2;
	}
	return { max, rmse: Math.sqrt(squares / got.length) };
}

/** Share of rows whose largest logit is at the same token. */
function agreement(a: Float32Array, b: Float32Array, vocab: number): number {
	const best = (logits: Float32Array, row: number) => {
		const own = logits.subarray(row * vocab, (row + 1) * vocab);
		return own.indexOf(own.reduce((x, y) => Math.max(x, y)));
	};
	const rows = Array.from({ length: a.length / vocab }, (_, row) => row);
	return rows.filter((row) => best(a, row) === best(b, row)).length / rows.length;
}

/** L2 error over `want`'s norm, and the cosine. */
function compare(got: Float32Array, want: Float32Array): [error: number, cosine: number] {
	let [error, dot, a, b] = [0, 0, 0, 0];
	for (let i = 0; i < want.length; i++) {
		error += (got[i] - want[i]) ** 2;
		dot += got[i] * want[i];
		a += got[i] ** 2;
		b += want[i] ** 2;
	}
	return [Math.sqrt(error / b), dot / Math.sqrt(a * b)];
}

describe.skipIf(nativeMissing)("Qwen2.5-VL in bfloat16", () => {
	let exact: Qwen2_5VLModel;
	let frozen: Qwen2_5VLModel;
	let trainable: Qwen2_5VLModel;
	let theirs: z.infer<typeof reference>;
	let scratch: string;
	beforeAll(async () => {
		scratch = await mkdtemp(join(tmpdir(), "rft-bf16-"));
		theirs = reference.parse(JSON.parse(await readFile(new URL("../fixtures/bf16.json", import.meta.url), "utf8")));
		exact = await loadModel(CHECKPOINT, { ...BACKEND, dtype: "float32" });
		frozen = await loadModel(CHECKPOINT, { ...BACKEND, dtype: "bfloat16" });
		trainable = await loadModel(CHECKPOINT, { ...BACKEND, dtype: "bfloat16", trainable: true });
	});
	afterAll(async () => {
		for (const model of [exact, frozen, trainable]) await model?.[Symbol.asyncDispose]();
		await rm(scratch, { recursive: true });
	});

	async function logitsOf(model: Qwen2_5VLModel): Promise<Float32Array> {
		const inputs = inputsOf(await golden("forward"));
		const logits = await model.forward(inputs);
		try {
			return realRows((await logits.data()) as Float32Array, inputs.attentionMask.data, model.config.text.vocabSize);
		} finally {
			logits.dispose();
		}
	}

	it("is no farther from float32's logits than transformers' bfloat16: rmse, and max within 1.25 ×; and agrees on as many tokens", async () => {
		const vocab = frozen.config.text.vocabSize;
		const want = (await golden("forward")).float("logits").data;
		const reference = (await golden("bf16")).float("logits").data;
		const got = await logitsOf(frozen);
		const [ours, peers] = [difference(got, want), difference(reference, want)];
		expect(ours.rmse).toBeLessThan(peers.rmse); // measured: 0.0436 against 0.0587
		expect(ours.max).toBeLessThan(1.25 * peers.max); // 0.485 against 0.425
		expect(agreement(got, want, vocab)).toBeGreaterThanOrEqual(agreement(reference, want, vocab) - 2.5 / 185); // 175 of the 185 tokens, 177
		expect(agreement(got, reference, vocab)).toBeGreaterThan(0.95); // 96.8 %
		expect(ours.rmse).toBeGreaterThan(peers.rmse / 10); // it is not float32 by mistake
	});

	it("has the same logits from stored bfloat16 matrices and from rounded float32 masters", async () => {
		expect(await logitsOf(trainable)).toEqual(await logitsOf(frozen));
	});

	it("generates as far along float32's greedy tokens as transformers' bfloat16, and leaks nothing", async () => {
		const inputs = inputsOf(await golden("forward"));
		const want = (await golden("generate")).int("ids");
		const [rows, length] = want.shape;
		const common = (tokens: ArrayLike<number>, row: number) => {
			const differs = Array.from({ length }, (_, i) => i).find((i) => tokens[i] !== want.data[row * length + i]);
			return differs ?? length;
		};
		const [tensors, onDevice] = [memory().numTensors, currentNativeBackend()!.binding.getNumOfTensors()];
		const { tokens } = await frozen.generate(inputs, { maxNewTokens: length, eosTokenIds: [] });
		expect(memory().numTensors).toBe(tensors);
		expect(currentNativeBackend()!.binding.getNumOfTensors()).toBe(onDevice);
		const total = (all: readonly ArrayLike<number>[]) => all.reduce((sum, ids, row) => sum + common(ids, row), 0);
		expect(tokens).toHaveLength(rows);
		expect(total(tokens)).toBeGreaterThanOrEqual(0.75 * total(theirs.greedy));
		expect((await trainable.generate(inputs, { maxNewTokens: length, eosTokenIds: [] })).tokens).toEqual(tokens);
	});

	it("is captured by compile", async () => {
		const inputs = inputsOf(await golden("forward"));
		const logits = (model: Qwen2_5VLModel) => () => {
			const hidden = model.hiddenStates(model.prepare(inputs));
			return model.lmHead(reshape(hidden, [-1, hidden.shape[2]]));
		};
		for (const model of [frozen, trainable]) {
			const captured = compile(logits(model));
			captured().dispose();
			tidy(() => {
				const [got, want] = [captured().dataSync() as Float32Array, logits(model)().dataSync() as Float32Array];
				// A graph's rewriter may fuse ops, and a last bit of float32 then flips a rounding to bfloat16 here and there.
				expect(difference(got, want).rmse).toBeLessThan(0.03);
			});
			expect(captured.recordings).toBe(1);
			captured.dispose();
		}
	});

	const byName = async (model: Qwen2_5VLModel, how: Omit<MicroStepOptions, "buckets"> = {}) => {
		const optimizer = new AdamW(model.namedParameters());
		const { buckets } = optimizer;
		const microStep = new MicroStep(model, { buckets, ...how });
		const { gradients, loss } = await accumulateGradients(model, await examples(), { microTrainBatchSize: 2, microStep, buckets });
		const named = new Map<string, Float32Array>();
		for (const [i, bucket] of optimizer.buckets.entries()) {
			const parts = splitLike(gradients[i]!, bucket.variables);
			for (const [j, part] of parts.entries()) named.set(bucket.names[j], (await part.data()) as Float32Array);
			for (const part of parts) part.dispose();
		}
		disposeGradients(gradients);
		microStep.dispose();
		optimizer.dispose();
		return { loss, named };
	};

	it("has gradients as near to float32's as torch's autocast: in all, and each parameter's within 2 ×", async () => {
		const want = await byName(exact);
		const got = await byName(trainable);
		expect(Math.abs(got.loss - want.loss)).toBeLessThan(3 * Math.abs(theirs.loss.autocast - theirs.loss.float32));
		expect([...got.named.keys()].sort()).toEqual(
			Object.keys(theirs.gradients)
				.filter((name) => name !== "all")
				.sort(),
		);
		const flat = (gradients: Map<string, Float32Array>) => Float32Array.from([...gradients.values()].flatMap((values) => [...values]));
		const [error, cosine] = compare(flat(got.named), flat(want.named));
		expect(error).toBeLessThan(1.1 * theirs.gradients.all[0]);
		expect(cosine).toBeGreaterThan(0.995);
		for (const [name, gradient] of got.named) {
			expect(compare(gradient, want.named.get(name)!)[0], name).toBeLessThan(2 * theirs.gradients[name][0]);
		}
		const eager = await byName(trainable, { eager: true });
		const again = await byName(trainable, { eager: true, gradientCheckpointing: true });
		for (const [name, gradient] of eager.named) expect(again.named.get(name), name).toEqual(gradient);
	});

	it("learns like float32, no farther than 1.5 × torch's autocast over three AdamW steps, masters float32, nothing leaked", async () => {
		await using model = await loadModel(CHECKPOINT, { ...BACKEND, dtype: "bfloat16", trainable: true });
		const trained = z.object({ step_losses: z.array(z.number()), loss_after: z.number() });
		const want = trained.parse(JSON.parse(await readFile(goldenPath("train.json"), "utf8")));
		const optimizer = new AdamW(model.namedParameters(), { betas: [0.9, 0.999], weightDecay: 0.01, decayAll: true });
		const { buckets } = optimizer;
		const microStep = new MicroStep(model, { buckets });
		const rows = await examples();
		const before = memory().numTensors;
		const exactLosses = [...want.step_losses, want.loss_after];
		const off = (losses: readonly number[]) => Math.max(...losses.map((loss, i) => Math.abs(loss / exactLosses[i] - 1)));
		const losses: number[] = [];
		while (losses.length < exactLosses.length) {
			const { gradients, loss, gradNorm } = await accumulateGradients(model, rows, { microTrainBatchSize: 2, microStep, buckets });
			losses.push(loss);
			optimizer.step(gradients, { learningRate: 1e-3, gradientScale: clipFactor(gradNorm, 1) });
			disposeGradients(gradients);
			expect(memory().numTensors).toBe(before);
		}
		expect(off(losses)).toBeLessThan(1.5 * off(theirs.step_losses)); // measured: 3.0 % against 2.6 %
		for (const parameter of model.namedParameters().values()) expect(isBfloat16(parameter)).toBe(false);
		microStep.dispose();
		optimizer.dispose();
	});

	it("saves what it has in memory, and loads it again to the same logits", async () => {
		const logits = await logitsOf(frozen);
		const dir = join(scratch, "saved");
		await saveModel(frozen, dir);
		const checkpoint = await openCheckpoint(dir);
		for (const name of checkpoint.names()) {
			const { dtype, shape } = checkpoint.entry(name);
			expect(dtype, name).toBe(shape.length > 1 ? "BF16" : "F32");
		}
		await checkpoint.close();
		expect(JSON.parse(await readFile(join(dir, "config.json"), "utf8")).dtype).toBe("bfloat16");
		await using again = await loadModel(dir, { ...BACKEND, dtype: "bfloat16" });
		expect(await logitsOf(again)).toEqual(logits);
		await saveModel(again, join(scratch, "twice"));
		expect(await readFile(join(scratch, "twice", "model.safetensors"))).toEqual(await readFile(join(dir, "model.safetensors")));
		await saveModel(trainable, join(scratch, "masters"));
		const masters = await openCheckpoint(join(scratch, "masters"));
		expect(new Set(masters.names().map((name) => masters.entry(name).dtype))).toEqual(new Set(["F32"]));
		await masters.close();
	});

	it("is not trained without float32 masters, and says how", async () => {
		expect(frozen.dtype).toBe("bfloat16");
		expect(() => frozen.namedParameters()).toThrow(/loaded to sample: its matrices are in bfloat16 only.* \{ trainable: true \}/);
		const row = {
			conversations: [
				{ from: "human" as const, value: "Hello" },
				{ from: "gpt" as const, value: "Hi" },
			],
			images: [],
		};
		await expect(new Trainer(frozen).fit([row])).rejects.toThrow(/Load it with \{ trainable: true \}/);
	});
});
