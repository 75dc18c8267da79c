import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { currentNativeBackend } from "../../src/backend/native-binding.js";
import { memory } from "../../src/backend/tf.js";
import { bytesToFloat32, float32ToBytes } from "../../src/checkpoint/dtype.js";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { writeCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import { loadModel, saveModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";
import { inputsOf, realRows } from "./qwen2_5_vl.golden.js";

const CHECKPOINT = goldenPath("tiny-qwen2_5_vl");
const OTHER_FILES = ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"];
const backend = "native-cpu" as const;

/** Each row of a matrix rounded to 127 steps on either side of zero. */
function roundRows(values: Float32Array, width: number): Float32Array {
	const rounded = new Float32Array(values.length);
	for (let from = 0; from < values.length; from += width) {
		const row = values.subarray(from, from + width);
		const step = row.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 127;
		row.forEach((v, i) => {
			rounded[from + i] = Math.round(v / step) * step;
		});
	}
	return rounded;
}

/** The checkpoint with the language model's matrices rounded so, in float32. */
async function roundedCheckpoint(dir: string): Promise<void> {
	const source = await openCheckpoint(CHECKPOINT);
	const entries = source.names().map((name) => {
		const { shape } = source.entry(name);
		const round = shape.length === 2 && !name.startsWith("visual.");
		const data = async () => {
			const values = bytesToFloat32(await source.read(name), "F32");
			return float32ToBytes(round ? roundRows(values, shape[1]) : values, "F32");
		};
		return { name, shape, dtype: "F32" as const, data };
	});
	await writeCheckpoint(dir, entries, {});
	await source.close();
	for (const file of OTHER_FILES) await copyFile(join(CHECKPOINT, file), join(dir, file));
}

describe.skipIf(nativeMissing)("Qwen2.5-VL with int8 weights", () => {
	let model: Qwen2_5VLModel;
	let scratch: string;
	beforeAll(async () => {
		scratch = await mkdtemp(join(tmpdir(), "rft-int8-"));
		model = await loadModel(CHECKPOINT, { backend, dtype: "int8" });
	});
	afterAll(async () => {
		await model?.[Symbol.asyncDispose]();
		await rm(scratch, { recursive: true });
	});

	async function logitsOf(of: Qwen2_5VLModel): Promise<Float32Array> {
		const inputs = inputsOf(await golden("forward"));
		const logits = await of.forward(inputs);
		try {
			return realRows((await logits.data()) as Float32Array, inputs.attentionMask.data, of.config.text.vocabSize);
		} finally {
			logits.dispose();
		}
	}

	const rmse = (a: Float32Array, b: Float32Array) => Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / a.length);

	it("has the logits of a model whose matrices were rounded so before, to bfloat16's noise; and not those of the original", async () => {
		await roundedCheckpoint(scratch);
		const rounded = await loadModel(scratch, { backend, dtype: "float32" });
		const [got, same] = [await logitsOf(model), await logitsOf(rounded)];
		await rounded[Symbol.asyncDispose]();
		const original = (await golden("forward")).float("logits").data;
		const bfloat16 = rmse((await golden("bf16")).float("logits").data, original); // transformers' own noise: 0.059
		expect(rmse(got, same)).toBeLessThan(bfloat16);
		expect(rmse(got, original)).toBeGreaterThan(1.5 * rmse(got, same));
		expect(rmse(got, original)).toBeLessThan(2.5 * bfloat16); // measured: 0.112
	});

	it("decodes few rows as it reads many: each greedy token is within bfloat16's noise of the best of the whole text's logits", async () => {
		const inputs = inputsOf(await golden("forward"));
		const [tensors, onDevice] = [memory().numTensors, currentNativeBackend()!.binding.getNumOfTensors()];
		const { tokens } = await model.generate(inputs, { maxNewTokens: 8, eosTokenIds: [] });
		expect(memory().numTensors).toBe(tensors);
		expect(currentNativeBackend()!.binding.getNumOfTensors()).toBe(onDevice);
		const [rows, length] = inputs.inputIds.shape;
		const longer = (data: Int32Array, added: (row: number) => ArrayLike<number>) =>
			Int32Array.from(
				Array.from({ length: rows }, (_, row) => [...data.subarray(row * length, (row + 1) * length), ...Array.from(added(row))]).flat(),
			);
		const whole = {
			...inputs,
			inputIds: { shape: [rows, length + 8] as [number, number], data: longer(inputs.inputIds.data, (row) => tokens[row]) },
			attentionMask: { shape: [rows, length + 8] as [number, number], data: longer(inputs.attentionMask.data, () => new Array(8).fill(1)) },
		};
		const logits = await model.forward(whole);
		const all = (await logits.data()) as Float32Array;
		logits.dispose();
		const vocab = model.config.text.vocabSize;
		for (let row = 0; row < rows; row++) {
			for (let i = 0; i < 8; i++) {
				const from = (row * (length + 8) + length - 1 + i) * vocab;
				const own = all.subarray(from, from + vocab);
				expect(own.reduce((a, b) => Math.max(a, b)) - own[tokens[row][i]]).toBeLessThan(0.3);
			}
		}
	});

	it("is for sampling: it can be neither trained nor saved, and says what to load instead", async () => {
		expect(() => model.namedParameters()).toThrow(/in int8 only/);
		await expect(saveModel(model, join(scratch, "saved"))).rejects.toThrow(/can be neither trained nor saved; load the checkpoint in/);
		await expect(loadModel(CHECKPOINT, { backend, dtype: "int8", trainable: true })).rejects.toThrow(/dtype "int8" is for sampling/);
	});
});
