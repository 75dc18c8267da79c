import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory, type Tensor, tensor1d, tensor2d, type Variable, variable, zeros } from "../../src/backend/tf.js";
import { parseConfig } from "../../src/model/qwen2_5_vl/config.js";
import { weightTable } from "../../src/model/qwen2_5_vl/weights.js";
import { disposeGradients } from "../../src/trainer/accumulate-gradients.js";
import { AdamW } from "../../src/trainer/adamw.js";
import { clipFactor, squaredGradNorm } from "../../src/trainer/clip-grad-norm.js";
import { bucketParameters, flattenBucket, splitLike } from "../../src/trainer/parameter-buckets.js";
import { goldenPath } from "../fixtures/read-golden.js";

const matrix = z.array(z.array(z.number()));
const vector = z.array(z.number());
const reference = z
	.object({
		start: z.object({ weight: matrix, bias: vector }),
		steps: z.array(z.object({ gradients: z.object({ weight: matrix, bias: vector }), norm: z.number(), weight: matrix, bias: vector })),
	})
	.parse(JSON.parse(readFileSync(new URL("../fixtures/adamw.json", import.meta.url), "utf8")));

let parameters: Map<string, Variable>;
beforeAll(async () => {
	await selectBackend("cpu");
	parameters = new Map([
		["layer.weight", variable(tensor2d(reference.start.weight))],
		["layer.bias", variable(tensor1d(reference.start.bias))],
	] as [string, Variable][]);
});
afterAll(() => {
	for (const parameter of parameters.values()) parameter.dispose();
});

const values = async (t: Tensor) => Array.from(await t.data());

describe("AdamW", () => {
	it("follows torch.optim.AdamW and clip_grad_norm_, with no decay on the bias", async () => {
		const before = memory().numTensors;
		const optimizer = new AdamW(parameters, { betas: [0.9, 0.95], weightDecay: 0.1 });
		expect(optimizer.buckets.map(({ names, decays }) => [names, decays])).toEqual([
			[["layer.weight"], true],
			[["layer.bias"], false],
		]);
		for (const { gradients, norm, weight, bias } of reference.steps) {
			const flat = [tensor1d(gradients.weight.flat()), tensor1d(gradients.bias)];
			const squared = squaredGradNorm(flat);
			const gradNorm = Math.sqrt((await squared.data())[0]);
			squared.dispose();
			expect(gradNorm / norm).toBeCloseTo(1, 5);
			optimizer.step(flat, { learningRate: 0.02, gradientScale: clipFactor(gradNorm, 1) });
			disposeGradients(flat);
			(await values(parameters.get("layer.weight")!)).forEach((value, i) => {
				expect(value).toBeCloseTo(weight.flat()[i], 5);
			});
			(await values(parameters.get("layer.bias")!)).forEach((value, i) => {
				expect(value).toBeCloseTo(bias[i], 5);
			});
		}
		optimizer.dispose();
		expect(memory().numTensors).toBe(before);
	});

	it("decays what transformers' Trainer decays, but for the vision tower's norms, whose names that does not know for norms", () => {
		const decayed = z
			.object({ decayed: z.array(z.string()) })
			.parse(JSON.parse(readFileSync(new URL("../fixtures/label-smoothing.json", import.meta.url), "utf8"))).decayed;
		const config = parseConfig(JSON.parse(readFileSync(goldenPath("tiny-qwen2_5_vl/config.json"), "utf8")), "config.json");
		const all = new Map([...weightTable(config)].map(([name, shape]) => [name, variable(zeros(shape))] as [string, Variable]));
		const optimizer = new AdamW(all);
		const ours = optimizer.buckets.filter(({ decays }) => decays).flatMap(({ names }) => names);
		expect(ours.sort()).toEqual(decayed.filter((name) => !/^visual\..*(norm[12]|ln_q)\.weight$/.test(name)));
		expect(ours.length).toBeLessThan(all.size);
		optimizer.dispose();
		for (const parameter of all.values()) parameter.dispose();
	});

	it("refuses a state in which parameters of one bucket are at different steps", async () => {
		const two = new Map([...parameters].map(([name], i) => [`a.${name}`, variable(tensor2d([[i]]))] as [string, Variable]));
		const optimizer = new AdamW(two);
		const read = async (name: string, size: number) => new Float32Array(size).fill(name === "step.a.layer.bias" ? 3 : 2);
		await expect(optimizer.restore(read)).rejects.toThrow(/a\.layer\.weight … a\.layer\.bias are updated together but saved at steps 2,3/);
		optimizer.dispose();
		for (const parameter of two.values()) parameter.dispose();
	});
});

describe("parameter buckets", () => {
	it("keep vision and text apart, decayed and not, and split at the size limit", () => {
		const shapes: [string, number[]][] = [
			["visual.a.weight", [2, 2]],
			["visual.a.bias", [2]],
			["model.a.weight", [2, 2]],
			["model.b.weight", [3, 2]],
			["model.c.weight", [2, 3]],
			["model.norm.weight", [2]],
		];
		const named = new Map(
			shapes.map(([name, shape]) => [name, variable(tensor1d(new Array(shape.reduce((a, b) => a * b)).fill(1)).reshape(shape))]),
		);
		const names = (options?: Parameters<typeof bucketParameters>[1]) =>
			bucketParameters(named, options).map((bucket) => bucket.names.join(" "));
		expect(names({ maxElements: 10 })).toEqual([
			"visual.a.weight",
			"visual.a.bias",
			"model.a.weight model.b.weight",
			"model.c.weight",
			"model.norm.weight",
		]);
		expect(names({ decayAll: true })).toEqual([
			"visual.a.weight visual.a.bias",
			"model.a.weight model.b.weight model.c.weight model.norm.weight",
		]);
		for (const v of named.values()) v.dispose();
	});

	it("flatten and split are inverses; a missing tensor is zeros", async () => {
		const [bucket] = bucketParameters(parameters, { decayAll: true });
		const flat = flattenBucket(bucket, [parameters.get("layer.weight"), undefined]);
		const parts = splitLike(flat, bucket.variables);
		expect(parts.map((part) => part.shape)).toEqual([[3, 4], [4]]);
		expect(await values(parts[0])).toEqual(await values(parameters.get("layer.weight")!));
		expect(await values(parts[1])).toEqual([0, 0, 0, 0]);
		for (const t of [flat, ...parts]) t.dispose();
	});
});
