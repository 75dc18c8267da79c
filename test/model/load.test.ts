import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memory } from "../../src/backend/tf.js";
import { bytesToFloat32, DTYPE_BYTES, float32ToBytes } from "../../src/checkpoint/dtype.js";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/open-checkpoint.js";
import { writeCheckpoint } from "../../src/checkpoint/write-checkpoint.js";
import { parseConfig } from "../../src/model/qwen2_5_vl/config.js";
import { initModel, loadModel, saveModel } from "../../src/model/qwen2_5_vl/load.js";
import { weightTable } from "../../src/model/qwen2_5_vl/weights.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenPath } from "../fixtures/read-golden.js";

const CHECKPOINT = goldenPath("tiny-qwen2_5_vl");
const OTHER_FILES = ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"];
// These say nothing about kernels: the slowest backend, which every machine has, does.
const backend = "cpu" as const;

let scratch: string;
let source: Checkpoint;
beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-load-"));
	source = await openCheckpoint(CHECKPOINT);
});
afterAll(async () => {
	await source.close();
	await rm(scratch, { recursive: true });
});

/** A copy of the tiny checkpoint, its tensors renamed, retyped or left out. */
async function variant(
	name: string,
	{ rename = (key: string) => key as string | undefined, dtype = "F32" as "F32" | "BF16" | "F16", maxShardBytes = 5e9 },
): Promise<string> {
	const dir = join(scratch, name);
	const entries = source.names().flatMap((key) => {
		const to = rename(key);
		if (!to) return [];
		const data = async () => float32ToBytes(bytesToFloat32(await source.read(key), "F32"), dtype);
		return [{ name: to, shape: source.entry(key).shape, dtype, data }];
	});
	await writeCheckpoint(dir, entries, { maxShardBytes });
	for (const file of OTHER_FILES) await copyFile(join(CHECKPOINT, file), join(dir, file));
	return dir;
}

/** Largest difference of any weight from the original checkpoint, relative to the largest weight of its tensor. */
async function distance(dir: string): Promise<number> {
	const model = await loadModel(dir, { backend });
	let largest = 0;
	for (const [key, parameter] of model.namedParameters()) {
		const want = bytesToFloat32(await source.read(key), "F32");
		const got = await parameter.data();
		const scale = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
		want.forEach((w, i) => {
			largest = Math.max(largest, Math.abs(w - got[i]) / scale);
		});
	}
	await model[Symbol.asyncDispose]();
	return largest;
}

describe("loadModel", () => {
	it("reads every layout: one file or shards, the hub's keys or transformers' module names", async () => {
		expect(await distance(CHECKPOINT)).toBe(0);
		const moduleNames = (key: string) =>
			key.startsWith("visual.") ? `model.${key}` : key.startsWith("model.") ? key.replace("model.", "model.language_model.") : key;
		expect(await distance(await variant("sharded", { rename: moduleNames, maxShardBytes: 200_000 }))).toBe(0);
	});

	it.each([
		["BF16", 2 ** -8],
		["F16", 2 ** -11],
	] as const)("widens %s, exact to its rounding", async (dtype, rounding) => {
		const error = await distance(await variant(dtype, { dtype }));
		expect(error).toBeGreaterThan(0);
		expect(error).toBeLessThanOrEqual(rounding);
	});

	it("lists missing and unexpected keys and shapes that differ, all at once", async () => {
		const rename = (key: string) =>
			key === "model.norm.weight" ? undefined : key === "visual.merger.ln_q.weight" ? "visual.merger.ln.weight" : key;
		const dir = await variant("broken", { rename });
		const config = JSON.parse(await readFile(join(dir, "config.json"), "utf8"));
		config.text_config.vocab_size = 999;
		await writeFile(join(dir, "config.json"), JSON.stringify(config));
		const failure = await loadModel(dir, { backend }).catch((error: Error) => error.message);
		expect(failure).toContain(`${dir} does not fit its config.json`);
		expect(failure).toContain("missing: model.norm.weight");
		expect(failure).toContain("missing: visual.merger.ln_q.weight");
		expect(failure).toContain("unexpected: visual.merger.ln.weight");
		expect(failure).toContain("shape: lm_head.weight: config.json asks for [999,64], the file has [1000,64]");
	});

	it("names the field of a config.json that is wrong", async () => {
		const config = JSON.parse(await readFile(join(CHECKPOINT, "config.json"), "utf8"));
		expect(() => parseConfig({ ...config, model_type: "llama" })).toThrow(/not a Qwen2.5-VL configuration:\n {2}model_type/);
		const odd = structuredClone(config);
		odd.text_config.num_key_value_heads = 3;
		odd.vision_config.out_hidden_size = 32;
		expect(() => parseConfig(odd)).toThrow(/not a multiple of num_key_value_heads; vision_config.out_hidden_size 32 differs/);
	});

	it("refuses a folder without weights, and a compute type that it does not have", async () => {
		await expect(loadModel(scratch, { backend })).rejects.toThrow(
			/config\.json: no such file; expected the folder of a Hugging Face checkpoint/,
		);
		await expect(loadModel(CHECKPOINT, { backend, dtype: "bfloat16" })).rejects.toThrow(
			/the backend cpu has no bfloat16; expected native-cpu or native-gpu. Run `npx tfjs-rft setup`, or use dtype "auto"/,
		);
	});
});

describe("saveModel", () => {
	it("gives back what was loaded, with its tokenizer and processor, and leaves no tensor behind", async () => {
		const before = memory().numTensors;
		const model = await loadModel(CHECKPOINT, { backend });
		const dir = join(scratch, "saved");
		await saveModel(model, dir, { maxShardBytes: 300_000 });
		await model[Symbol.asyncDispose]();
		expect(memory().numTensors).toBe(before);
		expect(await distance(dir)).toBe(0);
		const saved = await openCheckpoint(dir);
		expect(saved.names().sort()).toEqual(source.names().sort());
		await saved.close();
		expect(JSON.parse(await readFile(join(dir, "config.json"), "utf8"))).toEqual(
			JSON.parse(await readFile(join(CHECKPOINT, "config.json"), "utf8")),
		);
		for (const file of OTHER_FILES.slice(1)) expect(await readFile(join(dir, file))).toEqual(await readFile(join(CHECKPOINT, file)));
	});

	it("stores half precision when asked", async () => {
		const model = await loadModel(CHECKPOINT, { backend });
		const dir = join(scratch, "half");
		await saveModel(model, dir, { dtype: "bfloat16" });
		await model[Symbol.asyncDispose]();
		const saved = await openCheckpoint(dir);
		expect(new Set(saved.names().map((name) => saved.entry(name).dtype))).toEqual(new Set(["BF16"]));
		await saved.close();
		expect(JSON.parse(await readFile(join(dir, "config.json"), "utf8")).dtype).toBe("bfloat16");
	});
});

describe("initModel", () => {
	it("draws the same weights from the same seed, at the configured spread", async () => {
		const [a, b, c] = [
			await initModel(CHECKPOINT, { backend, seed: 1 }),
			await initModel(CHECKPOINT, { backend, seed: 1 }),
			await initModel(CHECKPOINT, { backend, seed: 2 }),
		];
		const key = "model.embed_tokens.weight";
		const values = async (model: typeof a) => [...(await model.namedParameters().get(key)!.data())];
		const drawn = await values(a);
		expect(await values(b)).toEqual(drawn);
		expect(await values(c)).not.toEqual(drawn);
		const std = Math.sqrt(drawn.reduce((sum, x) => sum + x * x, 0) / drawn.length);
		expect(std).toBeGreaterThan(0.0195);
		expect(std).toBeLessThan(0.0205);
		for (const model of [a, b, c]) await model[Symbol.asyncDispose]();
	});
});

describe("memory while loading", () => {
	it.each([
		["F32", "float32"],
		["BF16", "bfloat16"],
	] as const)("peaks at no more than 1.2 × the weights, of %s in %s", async (stored, dtype) => {
		if (dtype === "bfloat16" && nativeMissing) return expect(nativeMissing).toMatch(/setup/); // no other backend has it
		const config = JSON.parse(await readFile(join(CHECKPOINT, "config.json"), "utf8"));
		Object.assign(config.text_config, {
			hidden_size: 512,
			intermediate_size: 1024,
			num_hidden_layers: 12,
			vocab_size: 20_000,
			rope_parameters: { ...config.text_config.rope_parameters, mrope_section: [16, 24, 24] },
		});
		config.vision_config.out_hidden_size = 512;
		const dir = join(scratch, `large-${stored}`);
		const entries = [...weightTable(parseConfig(config))].map(([name, shape]) => ({
			name,
			shape,
			dtype: stored,
			data: () => new Uint8Array(DTYPE_BYTES[stored] * shape.reduce((a, b) => a * b, 1)).fill(60),
		}));
		await writeCheckpoint(dir, entries);
		for (const file of OTHER_FILES) await copyFile(join(CHECKPOINT, file), join(dir, file));
		await writeFile(join(dir, "config.json"), JSON.stringify(config));
		const script = fileURLToPath(new URL("./measure-load.ts", import.meta.url));
		const run = spawnSync(process.execPath, ["--import", "tsx", script, dir, dtype], { encoding: "utf8" });
		expect(run.status, run.stderr).toBe(0);
		const { weights, peak } = JSON.parse(run.stdout) as { weights: number; peak: number };
		expect(weights).toBeGreaterThan(DTYPE_BYTES[stored] * 38e6);
		expect(peak / weights, `${(peak / 1e6).toFixed(0)} MB for ${(weights / 1e6).toFixed(0)} MB of weights`).toBeLessThanOrEqual(1.2);
	});
});
