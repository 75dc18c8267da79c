/** Flags and config files to options: what goes before what, and what is said where something is wrong. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { guidingOptions } from "../../src/cli/guiding.js";
import { evaluateOptions, runOptions, sampleOptions, trainOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import { readConfig } from "../../src/cli/read-config.js";
import { refusedFlags, refuseFlag } from "../../src/cli/refused-flags.js";
import { parseRemoteJudge } from "../../src/cli/remote-judge.js";

const MODEL = "test/fixtures/golden/tiny-qwen2_5_vl";
const SAMPLE = { model_path: MODEL, data_path: "hpdv3:a.json", output_path: "out" };
const TRAIN = { pretrain: MODEL, save_path: "out", train_data: "rows.json" };
const RUN_KEYS = Object.keys(runOptions.shape);

let folder: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-options-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function config(name: string, text: string) {
	await writeFile(join(folder, name), text);
	return readConfig(join(folder, name), RUN_KEYS);
}

describe("parseOptions", () => {
	it("has the reference script's defaults", () => {
		expect(parseOptions(sampleOptions, SAMPLE)).toMatchObject({ batch_size: 32, max_new_tokens: 2048, use_cot: true, backend: "auto" });
		expect(parseOptions(trainOptions, TRAIN)).toMatchObject({
			...{ train_batch_size: 8, micro_train_batch_size: 1, max_epochs: 3, prompt_max_len: 13000, actor_learning_rate: 2.5e-6 },
			...{ lr_warmup_ratio: 0.03, adam_betas: [0.9, 0.95], seed: 42 },
		});
	});

	it("reads weighted sources, mappings and shards", () => {
		const sources = { data_path: "hpdv3:a.json@0.7,genai_bench:b/*.parquet@0.3", shard: "2/8", image_cache: "images" };
		expect(parseOptions(sampleOptions, { ...SAMPLE, ...sources })).toMatchObject({
			...{ data_path: ["hpdv3:a.json@0.7", "genai_bench:b/*.parquet@0.3"], shard: "2/8", image_cache: "images" },
		});
		const mapping = { prompt: "p", imageA: "a", imageB: "b", preference: { always: "A" } };
		for (const data_mapping of ["m.yaml", mapping]) {
			expect(parseOptions(sampleOptions, { ...SAMPLE, data_path: "pairs:a.json", data_mapping })).toMatchObject({ data_mapping });
		}
	});

	it.each<[object, RegExp]>([
		[{ data_path: "pairs:a.json" }, /--data_mapping is missing: for pairs: sources/],
		[{ data_path: "pairs:a.json", data_mapping: { prompt: "p" } }, /--data_mapping: mapping: imageA: expected string, got nothing/],
		[{ decontaminate: "pairs:a.json" }, /--decontaminate_mapping is missing: for pairs: sources among them/],
		[{ shard: "0/4" }, /--shard: expected i\/n with i from 1 to n, such as 1\/4 to 4\/4, got "0\/4"/],
		[{ data_path: "hpdv3:a.json@0.7,genai:b.parquet" }, /--data_path: source "genai:b\.parquet": expected a weight/],
	])("refuses %j", (wrong, message) => expect(() => parseOptions(sampleOptions, { ...SAMPLE, ...wrong })).toThrow(message));

	it("reads numbers, lists and sources from text", () => {
		const options = parseOptions(trainOptions, {
			...TRAIN,
			...{ actor_learning_rate: "2.5e-6", adam_betas: ["0.9", "0.98"], save_steps: "-1", eval_steps: "10" },
			train_data: ["imagegen-cot-reward-5k:a.json,other-source:b, c.json", "d.json"],
			eval_data_path: "hpdv3:x.json,hpdv3:y.json",
		});
		expect(options).toMatchObject({ actor_learning_rate: 2.5e-6, adam_betas: [0.9, 0.98], save_steps: undefined, eval_steps: 10 });
		expect(options.train_data).toEqual(["a.json", "b, c.json", "d.json"]);
		expect(options.eval_data_path).toEqual(["hpdv3:x.json", "hpdv3:y.json"]);
	});

	it.each([
		[{ batch_size: "8.5" }, '--batch_size: expected a whole number, 1 or more, got "8.5"'],
		[{ batch_size: "" }, '--batch_size: expected a whole number, 1 or more, got ""'],
		[{ top_p: "1.5" }, '--top_p: expected a number above 0, 1 or less, got "1.5"'],
		[{ temperature: "NaN" }, '--temperature: expected a number, 0 or more, got "NaN"'],
		[{ backend: "gpu" }, '--backend: expected auto, native-gpu, native-cpu, wasm or cpu, got "gpu"'],
		[{ dtype: "float16" }, '--dtype: expected auto, float32, bfloat16 or int8, got "float16"'],
		[{ bf16: true, dtype: "float32" }, "--bf16: expected it or --dtype float32, not both"],
		[{ data_path: "pairs.json" }, '--data_path: source "pairs.json": expected "schema:path"'],
		[{ model_path: "Qwen/Qwen2.5-VL-3B-Instruct" }, "--model_path: expected the folder of a Hugging Face checkpoint"],
		[{ output_path: undefined }, "--output_path is missing: a folder"],
		[{ both_orders_rule: true }, "--both_orders_rule: expected --orders both with it"],
		[{ max_one_order: "1" }, "--max_one_order: expected --both_orders_rule with it"],
		[{ samples_per_record: "4", temperature: "0" }, '--samples_per_record: expected 1 with --temperature 0: all would be equal, got "4"'],
		[
			{ prompt_template: "a", task_instruction: "{prompt}" },
			"--task_instruction: expected --prompt_template or --task_instruction, not both",
		],
	])("refuses %j", (wrong, message) => {
		expect(() => parseOptions(sampleOptions, { ...SAMPLE, ...wrong })).toThrow(message);
	});

	it.each([
		["openai:judge", "--model_path: expected openai:MODEL@URL"],
		["openai:judge@http://me:secret@host/v1", "expected an address without a password (give it as apiKey), got host with one"],
		["openai:judge@http://host/v1,nowhere", "expected an address such as http://localhost:8000/v1, got nowhere"],
	])("refuses the remote judge %s", (model_path, message) => {
		expect(() => parseOptions(sampleOptions, { ...SAMPLE, model_path })).toThrow(message);
	});

	it("chooses a checkpoint only by what is measured", () => {
		const [held, said] = [{ eval_data_path: "hpdv3:x.json" }, { eval_dataset: "rows.json" }];
		const train = (metric: string, data: object) => parseOptions(trainOptions, { ...TRAIN, ...data, metric_for_best_model: metric });
		expect(train("accuracy", held).metric_for_best_model).toBe("accuracy");
		expect(train("loss", said).metric_for_best_model).toBe("loss");
		for (const [metric, data] of [
			["accuracy", said],
			["loss", held],
			["parseRate", {}],
		] as const) {
			expect(() => train(metric, data)).toThrow(
				"--metric_for_best_model: expected --eval_dataset with it for the loss, --eval_data_path for others",
			);
		}
		expect(() => parseOptions(runOptions, { ...SAMPLE, metric_for_best_model: "loss" })).toThrow(
			"for the loss of held-out conversations use `train",
		);
	});

	it("says what a judgement may be, in all three forms of a flag", () => {
		expect(guidingOptions(parseOptions(sampleOptions, SAMPLE))).toEqual({
			score: false,
			constrainAnswers: false,
			thinkingBudget: undefined,
		});
		const asked = {
			score: true,
			constrain_answers: true,
			thinking_budget: "64",
			repetition_min_count: "4",
			repetition_max_pattern_size: "32",
		};
		expect(guidingOptions(parseOptions(evaluateOptions, { model_path: MODEL, data_path: SAMPLE.data_path, ...asked }))).toEqual({
			...{ score: true, constrainAnswers: true, thinkingBudget: 64 },
			repetitionDetection: { minPatternSize: 1, maxPatternSize: 32, minCount: 4 },
		});
	});

	it.each<[Record<string, unknown>, string]>([
		[{ thinking_budget: 64, max_new_tokens: 64 }, "--thinking_budget: expected less than --max_new_tokens"],
		[{ thinking_budget: 64, use_cot: false }, "--thinking_budget: expected none with --no-use_cot"],
		[
			{ repetition_min_pattern_size: 9, repetition_max_pattern_size: 8 },
			"expected it not to be above --repetition_max_pattern_size, got 9",
		],
		[{ repetition_min_count: 1 }, "--repetition_min_count: expected a whole number, 2 or more, got 1"],
		[
			{ model_path: "openai:judge@http://localhost:1/v1", constrain_answers: true },
			"no --constrain_answers or --thinking_budget with a remote judge",
		],
	])("refuses %j", (options, message) => {
		expect(() => parseOptions(sampleOptions, { ...SAMPLE, ...options })).toThrow(message);
	});

	it("takes a remote judge to ask, not to train, and none of the flags that are its server's", () => {
		const model_path = "openai:org/judge@http://one/v1,http://two/v1";
		expect(parseOptions(sampleOptions, { ...SAMPLE, model_path }).model_path).toBe(model_path);
		expect(parseRemoteJudge(model_path)).toEqual({ model: "org/judge", endpoints: ["http://one/v1", "http://two/v1"] });
		for (const flags of [{ bf16: true }, { dtype: "bfloat16" }, { backend: "wasm" }, { max_pixels: "784" }, { eager: true }])
			expect(() => parseOptions(sampleOptions, { ...SAMPLE, model_path, ...flags })).toThrow("expected no --adapter, --backend, --dtype");
		expect(() => parseOptions(trainOptions, { ...TRAIN, pretrain: model_path })).toThrow("a remote judge's weights are elsewhere");
		expect(() => parseOptions(runOptions, { ...SAMPLE, model_path })).toThrow("and `train --pretrain DIR`");
	});

	it("names everything that is wrong at once", () => {
		expect(() => parseOptions(sampleOptions, { ...SAMPLE, batch_size: "x", limit: "0" })).toThrow(/--limit: .*\n.*--batch_size: /);
	});
});

describe("config files", () => {
	it("YAML and JSON give the same, and flags go before them", async () => {
		const values = { ...SAMPLE, batch_size: 4, use_cot: false, learning_rate: 1e-3, "max-epochs": 2, eval_data_path: ["hpdv3:b.json"] };
		const yaml = Object.entries(values).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
		for (const given of [await config("a.yaml", yaml.join("\n")), await config("a.json", JSON.stringify(values, null, "\t"))]) {
			const options = parseOptions(runOptions, { batch_size: "5", data_path: ["hpdv3:c.json"] }, given);
			expect(options).toMatchObject({
				batch_size: 5,
				data_path: ["hpdv3:c.json"],
				use_cot: false,
				actor_learning_rate: 1e-3,
				max_epochs: 2,
			});
		}
	});

	it("says file, key, expected and got", async () => {
		const given = await config("b.yaml", "batch_size: eight\nuse_cot: 'yes'");
		expect(() => parseOptions(runOptions, SAMPLE, given)).toThrow(/b\.yaml: batch_size: expected a whole number, 1 or more, got "eight"/);
		expect(() => parseOptions(runOptions, SAMPLE, given)).toThrow(/b\.yaml: use_cot: expected true or false, got "yes"/);
	});

	it.each([
		["batchsize: 8", /unknown key batchsize; did you mean batch_size\?/],
		["colour: red", /unknown key colour; see `tfjs-rft run --help`/],
		["use_mp_opt: true", /use_mp_opt can't be honoured .*float32/],
		["zero_stage: 3", /zero_stage 3 can't be honoured .*one process/],
		["- batch_size", /expected a mapping/],
		["a: b: c", /expected YAML/],
		["max_epochs: 1\nmax-epochs: 2", /max_epochs in two spellings/],
	])("refuses %j", async (text, message) => {
		await expect(config("c.yaml", text)).rejects.toThrow(message);
	});

	it("refuses a missing file, and takes values that ask for nothing", async () => {
		await expect(readConfig(join(folder, "none.yaml"), RUN_KEYS)).rejects.toThrow(/none\.yaml: can't be read/);
		expect((await config("d.yaml", "use_mp_opt: false\nzero_stage: 0\nlimit:")).values).toEqual({});
	});
});

describe("LoRA", () => {
	const train = (more: Record<string, unknown>) => parseOptions(trainOptions, { ...TRAIN, ...more });

	it("is off by default, and takes modules as PEFT does", () => {
		expect(train({})).toMatchObject({ lora_rank: 0, lora_alpha: 16, lora_dropout: 0, target_modules: "all-linear", use_rslora: false });
		expect(train({ target_modules: ["q_proj"] }).target_modules).toEqual(["q_proj"]);
		expect(train({ target_modules: "q_proj" }).target_modules).toEqual(["q_proj"]); // of a config file
		expect(train({ target_modules: ["q_proj", "mlp.0"] }).target_modules).toEqual(["q_proj", "mlp.0"]);
		expect(train({ target_modules: ["all-linear"] }).target_modules).toBe("all-linear");
		expect(train({ target_modules: [".*layers\\.1\\..*"] }).target_modules).toBe(".*layers\\.1\\..*");
		expect(train({ layers_to_transform: ["0", "2"] }).layers_to_transform).toEqual([0, 2]);
	});

	it("is not both a new adapter and one that is there, and `sample` takes the latter only", () => {
		const adapter = "test/fixtures/golden/tiny-qwen2_5_vl-lora";
		expect(() => train({ adapter, lora_rank: "8" })).toThrow("--lora_rank: expected 0 with --adapter");
		expect(() => train({ lora_rank: "8", lora_alpha: "0" })).toThrow("--lora_alpha: expected a number above 0 with --lora_rank");
		expect(() => train({ adapter: MODEL })).toThrow("--adapter: expected the folder of a PEFT adapter, with an adapter_config.json");
		expect(parseOptions(sampleOptions, { ...SAMPLE, adapter }).adapter).toBe(adapter);
		expect(parseOptions(sampleOptions, { ...SAMPLE, model_path: adapter }).model_path).toBe(adapter);
		expect(() => parseOptions(sampleOptions, { ...SAMPLE, model_path: "openai:m@http://localhost/v1", adapter })).toThrow(
			"expected no --adapter",
		);
		expect(() => refuseFlag("lora_rank", "8", "--lora_rank")).toThrow("adapters are trained by `train` and `run`");
		expect(() => refuseFlag("lora_rank", "0", "--lora_rank")).not.toThrow();
	});
});

describe("refused flags", () => {
	it("answers each with a reason, and none that a command has", () => {
		const refused = refusedFlags(Object.keys(trainOptions.shape));
		expect(refused).toEqual(expect.arrayContaining(["use_mp_opt", "fsdp", "sp_size", "use_wandb"]));
		expect(refused).not.toContain("eval_data_path");
		expect(refused).not.toContain("lora_rank");
		for (const name of refused) expect(() => refuseFlag(name, null, `--${name}`)).toThrow(/can't be honoured in this version: .{20}/);
	});

	it("lets the value pass that is done anyway", () => {
		expect(() => refuseFlag("zero_stage", "0", "--zero_stage")).not.toThrow();
		expect(() => refuseFlag("zero_stage", "3", "--zero_stage")).toThrow("--zero_stage 3 can't be honoured");
		expect(() => refuseFlag("tensor_parallel_size", 1, "x.yaml: tensor_parallel_size")).not.toThrow();
	});
});
