/** `train --engine`: what is written for LLaMA-Factory, LightRFT and TRL, what is refused, and what --launch does. */
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { checkEngineFlags, refuseEngineFlags } from "../../src/cli/engines/check-engine-flags.js";
import type { EngineName } from "../../src/cli/engines/engine-flags.js";
import { ENGINE_OF, handOver } from "../../src/cli/engines/hand-over.js";
import { trainOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import type { Session } from "../../src/cli/session.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const IMAGE = resolve("test/fixtures/golden/images");

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-engines-"));
	const rows = Array.from({ length: 20 }, (_, i) => ({
		conversations: [
			{ from: "human", value: `**Image 1:** <image>\n**Image 2:** <image>\nCaption ${i}` },
			{ from: "gpt", value: "<answer>Image 1 is better</answer>" },
		],
		images: [`${IMAGE}/a.png`, `${IMAGE}/b.png`],
	}));
	await writeFile(at("rows.json"), JSON.stringify(rows));
	await writeFile(at("question.txt"), "What of {prompt}?");
});
afterAll(() => rm(scratch, { recursive: true }));

const options = (name: string, given: Record<string, unknown>) =>
	parseOptions(trainOptions, { pretrain: TINY, train_data: at("rows.json"), save_path: at(name), train_batch_size: 16, ...given });
const LIGHTRFT = { engine: "lightrft", engine_path: "/opt/LightRFT", lr_scheduler: "cosine_with_min_lr", micro_train_batch_size: 2 };

function listening(): { session: Session; printed: string[]; notes: string[] } {
	const [printed, notes]: string[][] = [[], []];
	const session: Session = {
		signal: new AbortController().signal,
		finishing: (work) => work(new AbortController().signal),
		print: (line) => void printed.push(line),
		note: (line) => void notes.push(line),
		stage: () => ({ update: () => undefined, end: () => undefined }),
	};
	return { session, printed, notes };
}

async function handedOver(name: string, given: Record<string, unknown>) {
	const parsed = options(name, given);
	const { session, printed, notes } = listening();
	await handOver(parsed.engine as EngineName, parsed, session);
	const folder = at(`${name}.${parsed.engine}`);
	return { folder, printed: printed.join("\n"), notes, script: await readFile(join(folder, "launch.sh"), "utf8") };
}

it("LLaMA-Factory: the guide's 8 GPUs with ZeRO-3, bfloat16, gradient checkpointing and FlashAttention, on two machines", async () => {
	const { folder, script, printed } = await handedOver("factory", {
		...{ engine: "llamafactory", nnodes: 2, gradient_checkpointing: true, flash_attn: true, freeze: ["vision_tower"], packing: true },
		...{
			actor_learning_rate: 2e-7,
			lr_warmup_ratio: 0.1,
			max_epochs: 5,
			max_pixels: 3136,
			save_steps: 500,
			prompt_template: at("question.txt"),
		},
	});
	const yaml = await readFile(join(folder, "llamafactory.yaml"), "utf8");
	// Python's YAML is version 1.1: a number's exponent needs a point before it, and `no` is false.
	expect(yaml).toContain("learning_rate: 2.0e-7\n");
	expect(parse(yaml, { version: "1.1" })).toMatchObject({
		...{
			stage: "sft",
			do_train: true,
			finetuning_type: "full",
			template: "qwen2_vl",
			dataset: "rft_sft",
			dataset_dir: join(folder, "data"),
		},
		...{
			model_name_or_path: resolve(TINY),
			output_dir: at("factory"),
			cutoff_len: 13000,
			image_max_pixels: 3136,
			packing: true,
			neat_packing: true,
		},
		...{
			freeze_vision_tower: true,
			freeze_multi_modal_projector: false,
			disable_gradient_checkpointing: false,
			flash_attn: "fa2",
			bf16: true,
		},
		...{
			per_device_train_batch_size: 1,
			gradient_accumulation_steps: 1,
			num_train_epochs: 5,
			learning_rate: 2e-7,
			lr_scheduler_type: "cosine",
		},
		// Two steps an epoch, ten in all.
		...{
			warmup_steps: 1,
			adam_beta1: 0.9,
			adam_beta2: 0.95,
			weight_decay: 0.01,
			max_grad_norm: 1,
			save_strategy: "steps",
			save_steps: 500,
		},
		...{ deepspeed: join(folder, "deepspeed.json"), report_to: "none", seed: 42 },
	});
	const deepspeed = JSON.parse(await readFile(join(folder, "deepspeed.json"), "utf8"));
	expect(deepspeed.zero_optimization).toMatchObject({ stage: 3, stage3_gather_16bit_weights_on_model_save: true });
	expect(script).toContain(
		`export FORCE_TORCHRUN="\${FORCE_TORCHRUN:-1}"\nexport NNODES="\${NNODES:-2}"\nexport NPROC_PER_NODE="\${NPROC_PER_NODE:-8}"`,
	);
	expect(script).toContain(`llamafactory-cli train ${join(folder, "llamafactory.yaml")}\n`);
	expect(printed).toContain(`tfjs-rft evaluate --model_path ${at("factory")}`);
	expect(existsSync(at("factory"))).toBe(false);
});

it("TRL: its script by torchrun; on the CPU without DeepSpeed", async () => {
	const { folder, script } = await handedOver("trl", {
		engine: "trl",
		lr_scheduler: "wsd",
		max_steps: 40,
		max_epochs: 30,
		micro_train_batch_size: 2,
		log_dir: at("logs"),
	});
	const yaml = parse(await readFile(join(folder, "trl.yaml"), "utf8"), { version: "1.1" });
	expect(yaml).toMatchObject({
		dataset_name: join(folder, "data"),
		completion_only_loss: true,
		max_steps: 40,
		save_strategy: "no",
	});
	expect(JSON.parse(yaml.lr_scheduler_kwargs)).toEqual({ num_decay_steps: 4, min_lr_ratio: 0 });
	expect(yaml).toMatchObject({ attn_implementation: "sdpa", report_to: "tensorboard", deepspeed: join(folder, "deepspeed.json") });
	expect(script).toContain(
		`torchrun --nnodes 1 --nproc_per_node 8 --node_rank "\${NODE_RANK:-0}" --master_addr "\${MASTER_ADDR:-127.0.0.1}"`,
	);
	expect(script).toContain(`-m trl.scripts.sft --config ${join(folder, "trl.yaml")}`);
	expect(script).toContain(`export TENSORBOARD_LOGGING_DIR="\${TENSORBOARD_LOGGING_DIR:-${at("logs")}}"`);
	const onCpu = await handedOver("trl-cpu", { engine: "trl", gpus_per_node: 0 });
	const cpu = parse(await readFile(join(onCpu.folder, "trl.yaml"), "utf8"), { version: "1.1" });
	expect(cpu).toMatchObject({ use_cpu: true, bf16: false, gradient_accumulation_steps: 16 });
	expect(cpu.deepspeed).toBeUndefined();
	expect(onCpu.script).toMatch(/^python -m trl\.scripts\.sft/m);
});

it("LightRFT: the command line of its guide", async () => {
	const { folder, script } = await handedOver("light", {
		...LIGHTRFT,
		gradient_checkpointing: true,
		flash_attn: true,
		save_steps: 500,
		log_dir: at("logs"),
	});
	const command = script.split("\n").find((line) => line.startsWith("torchrun")) ?? "";
	expect(command).toContain("/opt/LightRFT/examples/grm_training/train_grm_vl.py --pretrain");
	for (const flag of [
		...[
			"--train_batch_size 16",
			"--micro_train_batch_size 2",
			"--max_epochs 3",
			"--prompt_max_len 13000",
			"--actor_learning_rate 0.0000025",
		],
		...[
			"--lr_warmup_ratio 0.03",
			"--l2 0.01",
			"--adam_betas 0.9 0.95",
			"--seed 42",
			"--zero_stage 3",
			"--bf16",
			"--gradient_checkpointing",
		],
		...[
			"--flash_attn",
			"--save_steps 500",
			`--train_data imagegen-cot-reward-5k:${join(folder, "data", "train.json")}`,
			`--use_tensorboard ${at("logs")}`,
		],
	])
		expect(`${command} `).toContain(`${flag} `);
	expect(script).toContain(`model=${at("light", "final_checkpoint")}`);
});

describe("no flag is dropped in silence", () => {
	it.each(Object.keys(ENGINE_OF) as EngineName[])("%s", (name) => {
		const engine = ENGINE_OF[name];
		const base = options("flags", name === "lightrft" ? LIGHTRFT : { engine: name });
		expect(() => checkEngineFlags(engine, base)).not.toThrow();
		const left = Object.keys(trainOptions.shape).filter((flag) => !(engine.takes as readonly string[]).includes(flag));
		expect(left.length).toBeGreaterThan(10);
		for (const flag of left) {
			expect(() => checkEngineFlags(engine, { ...base, [flag]: "another value than the default" }), flag).toThrow(
				new RegExp(`^--${flag} can't be handed over to `),
			);
		}
	});
});

it.each([
	["llamafactory", { freeze: ["visual.*"] }, /--freeze: expected vision_tower or merger/],
	["llamafactory", { train_batch_size: 12 }, /--train_batch_size: expected a multiple of 8 .*got 12/],
	["llamafactory", { dtype: "int8" }, /--dtype: .*got int8/],
	["llamafactory", { nnodes: 2, launch: true }, /--launch: expected one node/],
	["trl", { ray: "http://127.0.0.1:8265" }, /--ray: expected --launch/],
	["lightrft", { lr_scheduler: "cosine_with_min_lr" }, /--engine_path: expected the folder of LightRFT's clone/],
	["lightrft", { ...LIGHTRFT, lr_scheduler: "cosine" }, /--lr_scheduler: expected cosine_with_min_lr: LightRFT's schedule/],
	["lightrft", { ...LIGHTRFT, micro_train_batch_size: 1 }, /--micro_train_batch_size: expected --train_batch_size \/ GPUs, 2/],
])("%s is refused %o", async (engine, given, message) => {
	const parsed = options("refused", { ...given, engine });
	await expect(handOver(engine as EngineName, parsed, listening().session)).rejects.toThrow(message);
});

it("our own trainer leaves the engines' flags to them", () => {
	expect(() => refuseEngineFlags(options("ours", {}))).not.toThrow();
	expect(() => refuseEngineFlags(options("ours", { launch: true }))).toThrow(/--launch: expected --engine/);
	expect(() => refuseEngineFlags(options("ours", { flash_attn: true }))).toThrow(/--flash_attn.*FlashAttention/);
});

/** A `python` that writes what TRL would: a model without the files beside it. */
async function fakePython(script: string) {
	await mkdir(at("bin"), { recursive: true });
	await writeFile(at("bin", "python"), `#!/bin/bash\n${script}\n`);
	await chmod(at("bin", "python"), 0o755);
}

it("--launch runs it and completes the model's folder", async () => {
	const path = process.env.PATH;
	process.env.PATH = `${at("bin")}:${path}`;
	try {
		await fakePython(`mkdir -p ${at("made")}; echo "{}" > ${at("made", "config.json")}; echo "$@" > ${at("made", "arguments")}`);
		const given = { engine: "trl", gpus_per_node: 0, launch: true };
		const { folder, printed } = await handedOver("made", { ...given, prompt_template: at("question.txt") });
		expect(await readFile(at("made", "arguments"), "utf8")).toBe(`-m trl.scripts.sft --config ${join(folder, "trl.yaml")}\n`);
		for (const file of ["preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
			expect(await readFile(at("made", file)), file).toEqual(await readFile(join(TINY, file)));
		expect(await readFile(at("made", "prompt.txt"), "utf8")).toBe("What of {prompt}?");
		expect(printed).toContain(`trained with TRL; model in ${at("made")}`);
		await fakePython("exit 3");
		await expect(handedOver("failed", given)).rejects.toThrow(/launch\.sh: ended with exit code 3/);
	} finally {
		process.env.PATH = path;
	}
});
