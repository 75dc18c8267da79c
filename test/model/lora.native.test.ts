/** A LoRA adapter in the model, against peft's numbers (test/reference/make_goldens.py, sec_lora) and its own properties. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { memory, slice, type Tensor3D, tidy } from "../../src/backend/tf.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import type { ModelInputs } from "../../src/model/generative-model.js";
import { type LoadModelOptions, loadModel, saveModel } from "../../src/model/qwen2_5_vl/load.js";
import { mergeAdapter } from "../../src/model/qwen2_5_vl/merge-adapter.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
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
function fillB(model: Qwen2_5VLModel): void {
	for (const [name, variable] of model.namedParameters()) {
		if (!name.includes("lora_B")) continue;
		const values = Float32Array.from({ length: variable.size }, (_, i) => Math.sin(i * 12.9898 + name.length) * 0.05);
		variable.assign(tidy(() => variable.mul(0).add(Array.from(values)[0])));
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
});
