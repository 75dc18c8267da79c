/** `train` and `run` stopped while they train, and continued by the same command. */
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { trainOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import { cli, start, succeed } from "./run-cli.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const SMALL_IMAGES = ["--min_pixels", "784", "--max_pixels", "3136"];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const text = (file: string) => readFile(file, "utf8");

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-training-"));
	const rows = ["one", "two", "three", "four"].map((value) => ({
		conversations: [
			{ from: "human", value: `count to ${value}` },
			{ from: "gpt", value: `one ${value}` },
		],
		images: [],
	}));
	await writeFile(at("rows.json"), JSON.stringify(rows));
});
afterAll(() => rm(scratch, { recursive: true }));

const train = (name: string, ...more: string[]) => [
	...["train", "--pretrain", TINY, "--train_data", at("rows.json"), "--save_path", at(name), "--log_dir", at(`${name}-logs`)],
	...["--train_batch_size", "2", "--actor_learning_rate", "1e-3", ...SMALL_IMAGES, ...more],
];

/** Starts a command and stops it once `file` has `lines` lines. */
async function stopped(signal: NodeJS.Signals, args: string[], file: string, lines: number) {
	const { child, finished } = start(args);
	const written = async () => existsSync(file) && (await text(file)).split("\n").length > lines;
	while (child.exitCode === null && !(await written())) await setTimeout(10);
	child.kill(signal);
	return finished;
}

it("takes transformers' and LLaMA-Factory's names, and one pattern or several", () => {
	const given = { pretrain: TINY, save_path: "out", train_data: at("rows.json") };
	const parsed = (more: Record<string, unknown>) => parseOptions(trainOptions, { ...given, ...more });
	expect(parsed({ optim: "adamw_torch" }).optim).toBe("adamw");
	expect(parsed({ lr_scheduler: "wsd" }).lr_scheduler).toBe("warmup_stable_decay");
	expect(parsed({ freeze: "visual.*" }).freeze).toEqual(["visual.*"]);
	expect(parsed({ freeze: ["vision_tower", "merger"] }).freeze).toEqual(["vision_tower", "merger"]);
	expect(() => parsed({ optim: "sgd" })).toThrow(/--optim: expected adamw or adafactor, got "sgd"/);
});

it("train with all that is optional: flags reach the trainer, the padding is reported, the best is kept", async () => {
	const { stdout, stderr } = await succeed(
		train(
			"all",
			...["--optim", "adafactor", "--lr_scheduler_type", "wsd", "--freeze", "vision_tower", "merger", "--label_smoothing_factor", "0.1"],
			...[
				"--neftune_noise_alpha",
				"5",
				"--group_by_length",
				"--packing",
				"--save_steps",
				"1",
				"--save_total_limit",
				"2",
				"--max_epochs",
				"2",
			],
		),
	);
	expect(stdout).toMatch(/^4 steps, loss/);
	expect(stderr).toMatch(/padding: \d+\.\d % of what was computed/);
	expect((await readdir(at("all"))).filter((name) => name.startsWith("checkpoint-")).sort()).toEqual(["checkpoint-3", "checkpoint-4"]);
	const state = JSON.parse(await text(at("all", "checkpoint-4", "trainer_state.json"))) as { identity: { options: object } };
	expect(state.identity.options).toMatchObject({
		...{ optimizer: "adafactor", scheduler: "warmup_stable_decay", decaySteps: 1, freeze: ["vision_tower", "merger"] },
		...{ labelSmoothing: 0.1, neftuneNoiseAlpha: 5, groupByLength: true },
	});
	expect((await cli(train("none", "--freeze", "visaul.*"))).stderr).toMatch(/error: freeze: "visaul\.\*" fits none of/);
}, 120_000);

it("is stopped by SIGTERM with a checkpoint and exit code 143; --resume_from_checkpoint auto goes on, and begins where there is none", async () => {
	const args = train("preempted", "--max_epochs", "40", "--resume_from_checkpoint", "auto");
	const { code, stderr } = await stopped("SIGTERM", args, at("preempted-logs", "metrics.jsonl"), 3);
	expect(code, stderr).toBe(143);
	const [, step] = /go on with `train --resume_from_checkpoint \S+checkpoint-(\d+)`/.exec(stderr) ?? [];
	expect(Number(step)).toBeGreaterThanOrEqual(3);
	const finished = await succeed(args);
	expect(finished.stdout).toMatch(/^80 steps, loss/);
	const steps = (await text(at("preempted-logs", "metrics.jsonl")))
		.trim()
		.split("\n")
		.map((line) => (JSON.parse(line) as { step: number }).step);
	expect(steps).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
	const again = await cli(args);
	expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("already there")]);
}, 120_000);

it("run that is stopped while it trains goes on with the same command, and refuses another training", async () => {
	const judge = at("judge");
	const rows = [
		["two red circles", "two-red-circles.png", "one-red-circle.jpg"],
		["a blue triangle", "blue-triangle.png", "two-red-circles.png"],
	];
	const conversations = rows.map(([caption, ...images]) => ({
		conversations: [
			{ from: "human", value: `**Image 1:** <image>\n**Image 2:** <image>\n${caption}` },
			{ from: "gpt", value: "<answer>Image 1 is better</answer>" },
		],
		images,
	}));
	await writeFile(at("teach.json"), JSON.stringify(conversations));
	await succeed([
		...["train", "--pretrain", TINY, "--save_path", judge, "--train_data", at("teach.json"), "--data_root", "test/fixtures/hpdv3/images"],
		...["--max_epochs", "24", "--train_batch_size", "2", "--micro_train_batch_size", "2", "--actor_learning_rate", "1e-2", ...SMALL_IMAGES],
	]);
	const run = (...more: string[]) => [
		...[
			"run",
			"--model_path",
			judge,
			"--data_path",
			"hpdv3:test/fixtures/hpdv3/pairs.json",
			"--output_path",
			at("run"),
			"--orders",
			"both",
		],
		...["--temperature", "0", "--no-use_cot", "--task_instruction", "{prompt}", "--max-new-tokens", "24", ...SMALL_IMAGES],
		...["--train_batch_size", "1", "--max_epochs", "40", "--save_steps", "5", "--max_ckpt_num", "2", ...more],
	];
	const { code, stderr } = await stopped("SIGTERM", run(), at("run", "logs", "metrics.jsonl"), 7);
	expect(code, stderr).toBe(143);
	expect(stderr).toMatch(/not finished: train\. Files so far are in .*; the same command goes on/);
	const sampled = await text(at("run", "filtered_samples.json"));
	const other = await cli(run("--actor_learning_rate", "1e-3"));
	expect(other.code).toBe(1);
	expect(other.stderr).toMatch(/another run's checkpoint: learningRate was 0\.0000025 and is now 0\.001/);
	const finished = await succeed(run());
	expect(finished.stderr).toContain("journal: going on from");
	expect(await text(at("run", "filtered_samples.json"))).toBe(sampled);
	const steps = (await text(at("run", "logs", "metrics.jsonl")))
		.trim()
		.split("\n")
		.map((line) => (JSON.parse(line) as { step: number }).step);
	expect(steps).toEqual(Array.from({ length: steps.length }, (_, i) => i + 1));
	expect(finished.stdout).toContain(`${steps.length} steps, loss`);
	expect((await cli(run())).stderr).toContain("already there");
}, 180_000);

it("trains an adapter, goes on with it, and merges it", async () => {
	const lora = ["--lora_rank", "2", "--lora_alpha", "4", "--lora_dropout", "0.1", "--target_modules", "q_proj", "v_proj", "--use_rslora"];
	const { stderr } = await succeed(train("lora", ...lora, "--max_epochs", "1", "--save_steps", "1"));
	expect(stderr).toMatch(/adapter: 1792 parameters on a frozen base/); // 4 layers × 2 × (64 + 64 + 64 + 32)
	expect((await readdir(at("lora", "checkpoint-2"))).sort()).toContain("adapter_model.safetensors");
	expect(JSON.parse(await text(at("lora", "adapter_config.json")))).toMatchObject({
		...{ r: 2, lora_alpha: 4, lora_dropout: 0.1, target_modules: ["q_proj", "v_proj"], use_rslora: true },
	});
	const again = await cli(train("lora", ...lora, "--max_epochs", "1"));
	expect(again.stderr).toMatch(/already there/);
	const further = train("further", "--max_epochs", "1");
	further[further.indexOf(TINY)] = at("lora");
	expect((await succeed(further)).stderr).toMatch(/adapter: 1792 parameters/);
	await succeed(["merge-adapter", "--adapter", at("further"), "--save_path", at("merged")]);
	expect(await readdir(at("merged"))).toEqual(expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]));
});

it("train --dry_run prints the plan, and writes and loads nothing; a config.json alone is enough", async () => {
	const { stdout, stderr } = await succeed(train("planned", "--dry_run", "--backend", "wasm", "--optim", "adafactor"));
	expect(stderr).toMatch(/lengths: of 4 of 4 conversations/);
	expect(stdout).toMatch(
		/conversations {2}4, .*\nparameters .*trained .*\(100\.0 %\)\nsteps {10}6, .*\ntime .*GFLOP\/s.*\nmemory .*: it fits/,
	);
	expect(existsSync(at("planned"))).toBe(false);
	await mkdir(at("bare"));
	await copyFile("test/fixtures/qwen2_5_vl-configs/72B.json", at("bare", "config.json"));
	const bare = [
		"train",
		"--dry_run",
		"--pretrain",
		at("bare"),
		"--train_data",
		at("rows.json"),
		"--save_path",
		at("x"),
		"--backend",
		"wasm",
	];
	const published = await succeed(bare);
	expect(published.stderr).toMatch(/estimated at 4 characters a token/);
	expect(published.stdout).toMatch(/73\.41 B[\s\S]*does not fit[\s\S]*--optim adafactor/);
});
