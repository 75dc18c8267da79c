/**
 * The program as a process: exit codes, what goes to which stream, the files, and Ctrl-C. The judge is the tiny golden checkpoint,
 * which the first test teaches to say one sentence; it leans to "Image 1" and so is right in one of both shown orders.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli, start, succeed } from "./run-cli.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const PAIRS = "hpdv3:test/fixtures/hpdv3/pairs.json";
const SMALL_IMAGES = ["--min_pixels", "784", "--max_pixels", "3136"];
const BRIEF = ["--no-use_cot", "--task_instruction", "{prompt}", "--max-new-tokens", "24", ...SMALL_IMAGES];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const text = (file: string) => readFile(file, "utf8");

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-"));
});
afterAll(() => rm(scratch, { recursive: true }));

async function until(condition: () => Promise<boolean>): Promise<void> {
	while (!(await condition())) await setTimeout(20);
}

async function teach(): Promise<void> {
	const rows = [
		["two red circles", "two-red-circles.png", "one-red-circle.jpg"],
		["a blue triangle", "blue-triangle.png", "two-red-circles.png"],
	].map(([caption, ...images]) => ({
		conversations: [
			{ from: "human", value: `**Image 1:** <image>\n**Image 2:** <image>\n${caption}` },
			{ from: "gpt", value: "<answer>Image 1 is better</answer>" },
		],
		images,
	}));
	await writeFile(at("rows.json"), JSON.stringify(rows));
}

const TRAIN = ["--train_batch_size", "2", "--micro_train_batch_size", "2", "--actor_learning_rate", "1e-2"];
const teaching = (name: string, steps: string) => [
	...["train", "--pretrain", TINY, "--save_path", at(name), "--train_data", `imagegen-cot-reward-5k:${at("rows.json")}`],
	...["--data_root", "test/fixtures/hpdv3/images", "--max_epochs", steps, "--log_dir", at(`${name}-logs`), ...TRAIN, ...SMALL_IMAGES],
];

describe("usage", () => {
	it("--help shows commands and exit codes; a command's help its flags", async () => {
		const [all, one] = await Promise.all([succeed(["--help"]), succeed(["train", "--help"])]);
		for (const command of [
			"run",
			"sample",
			"convert",
			"train",
			"evaluate",
			"filter",
			"report",
			"inspect",
			"compact",
			"merge",
			"merge-adapter",
			"setup",
			"doctor",
		])
			expect(all.stdout).toMatch(new RegExp(`^  ${command} `, "m"));
		expect(all.stdout).toContain("130  stopped by Ctrl-C");
		expect(one.stdout).toMatch(/--micro_train_batch_size <N> .*/);
		expect(one.stdout).not.toContain("--fsdp");
	});

	it("exits 2, says what is wrong and has begun nothing", async () => {
		const train = ["train", "--pretrain", TINY, "--save_path", at("never"), "--train_data", "rows.json"];
		const [unknown, refused, command, value] = await Promise.all([
			cli([...train, "--micro_batch_size", "1"]),
			cli([...train, "--zero_stage", "3"]),
			cli(["trian"]),
			cli([...train, "--max-epochs=many"]),
		]);
		expect([unknown, refused, command, value].map(({ code }) => code)).toEqual([2, 2, 2, 2]);
		expect(unknown.stderr).toMatch(/unknown option '--micro_batch_size'/);
		expect(refused.stderr).toMatch(/^error: --zero_stage 3 can't be honoured in this version: one process/);
		expect(command.stderr).toContain("Did you mean train?");
		expect(value.stderr).toBe('error: --max_epochs: expected a whole number, 1 or more, got "many"\n');
		expect(existsSync(at("never"))).toBe(false);
	});

	it("exits 1 for bad data before the model is loaded, the rows named; --verbose shows where", async () => {
		const args = ["evaluate", "--model_path", TINY, "--data_path", "hpdv3:test/fixtures/hpdv3/bad-rows.jsonl"];
		const [bad, missing] = await Promise.all([
			cli(args),
			cli(["evaluate", "--model_path", TINY, "--data_path", "hpdv3:none.json", "--verbose"]),
		]);
		expect([bad.code, missing.code]).toEqual([1, 1]);
		expect(bad.stderr).toMatch(/^record \d+ of .*bad-rows\.jsonl: /);
		expect(bad.stderr).toMatch(/error: .* bad rows, at most 0 allowed; .*--max_bad_rows \d+\n$/);
		expect(bad.stderr).not.toContain("    at ");
		expect(missing.stderr).toMatch(/DatasetError: none\.json: .*\n\s+at /);
	});

	it("removes nothing of an earlier run for training data that can't be read", async () => {
		await mkdir(at("earlier"));
		await writeFile(at("earlier", "config.json"), "{}");
		await writeFile(at("no-rows.json"), "[]");
		const train = ["train", "--pretrain", TINY, "--save_path", at("earlier"), "--overwrite", "--train_data"];
		const [missing, empty] = await Promise.all([cli([...train, at("lost.json")]), cli([...train, at("no-rows.json")])]);
		expect([missing.code, empty.code]).toEqual([1, 1]);
		expect(missing.stderr).toMatch(/lost\.json: can't be opened/);
		expect(empty.stderr).toMatch(/no-rows\.json: expected at least one conversation, got none/);
		expect(await readdir(at("earlier"))).toEqual(["config.json"]);
	});

	it("exits 3 where a backend that is named can't be had; doctor says what brings it", async () => {
		const env = { TFJS_RFT_CACHE: at("empty-cache") };
		const [evaluation, doctor] = await Promise.all([
			cli(["evaluate", "--model_path", TINY, "--data_path", PAIRS, "--backend", "native-cpu"], env),
			cli(["doctor", "--json"], env),
		]);
		expect([evaluation.code, doctor.code]).toEqual([3, 3]);
		expect(evaluation.stderr).toMatch(/^error: backend "native-cpu" was asked for but cannot be had: .*setup/m);
		const report = JSON.parse(doctor.stdout) as { backend: string; checks: { name: string; ok: boolean; fix?: string }[] };
		expect(report.backend).toBe("wasm");
		expect(report.checks.find(({ name }) => name === "TensorFlow")).toMatchObject({
			ok: false,
			fix: expect.stringContaining("tfjs-rft setup"),
		});
	});
});

describe("the job", () => {
	it("train teaches the judge; run does all with it; single commands do the same", async () => {
		await teach();
		const taught = await succeed(teaching("judge", "24"));
		expect(taught.stdout).toMatch(/^24 steps, loss 0\.0/);
		expect(taught.stderr).toMatch(/^backend: .*\n(.*\n)*train: 24\/24/);
		expect((await text(at("judge-logs", "metrics.jsonl"))).trim().split("\n")).toHaveLength(24);

		const judging = ["--data_path", PAIRS, "--orders", "both", "--temperature", "0", ...BRIEF];
		await writeFile(
			at("job.yaml"),
			`model_path: ${at("judge")}\nmax_epochs: 1\ntrain_batch_size: 1\neval_data_path: ${PAIRS}\nseed: 7\neval_steps: 1\n`,
		);
		const exporting = ["--export", "llama-factory,lightrft", "--export_rows", "sft"];
		const ran = await succeed(["run", at("job.yaml"), "--output_path", at("run"), "--train_batch_size", "2", ...judging, ...exporting]);
		expect((await readdir(at("run"))).sort()).toEqual([
			...["checkpoint", "exports", "filtered_samples.json", "filtered_samples_stats.json", "filtered_samples_stats.txt"],
			...["journal.jsonl", "logs", "rejected_samples.jsonl", "rejection_sampling_train.json", "report.html"],
		]);
		expect(await text(at("run", "report.html"))).toContain("held-out accuracy after");
		const filtered = JSON.parse(await text(at("run", "filtered_samples.json"))) as {
			outcome: string;
			answer: number;
			record: { order: number[] };
		}[];
		const rejected = (await text(at("run", "rejected_samples.jsonl"))).trim().split("\n");
		expect(filtered.length).toBeGreaterThan(0);
		expect(filtered.length + rejected.length).toBe(8);
		const report = JSON.parse(await text(at("run", "filtered_samples_stats.json"))) as { kept: number; rejected: Record<string, number> };
		expect([report.kept, Object.values(report.rejected).reduce((sum, count) => sum + count)]).toEqual([filtered.length, rejected.length]);
		expect((await text(at("run", "exports", "llama-factory", "sft.jsonl"))).trim().split("\n")).toHaveLength(filtered.length);
		expect(JSON.parse(await text(at("run", "exports", "lightrft", "sft.json")))).toHaveLength(filtered.length);
		for (const { outcome, answer, record } of filtered) expect([outcome, record.order[answer - 1]]).toEqual(["accepted", 0]);
		expect(ran.stdout).toContain(`${filtered.length} conversations, ${Math.ceil(filtered.length / 2)} steps`);
		expect(ran.stdout).toMatch(/before .*after/);
		expect(Object.keys(JSON.parse(await text(at("run", "logs", "evaluation.json"))))).toEqual(["before", "after"]);
		const logged = (await text(at("run", "logs", "judgements.jsonl"))).trim().split("\n");
		expect(logged).toHaveLength(8 * Math.ceil(filtered.length / 2)); // all four pairs in both orders, after each step
		const [counts] = (await text(at("run", "logs", "sample", "metrics.jsonl"))).trim().split("\n");
		expect(JSON.parse(counts)).toMatchObject({ step: 8, "sample/kept": filtered.length, "data/rows": 4, "data/quarantined": 0 });

		const sampled = succeed(["sample", "--model_path", at("judge"), "--output_path", at("single"), "--seed", "7", ...judging]);
		const evaluated = succeed([
			"evaluate",
			"--model_path",
			at("run", "checkpoint"),
			"--data_path",
			PAIRS,
			"--json",
			...BRIEF.filter((word) => !/task|prompt/.test(word)),
		]);
		const again = cli(["run", at("job.yaml"), "--output_path", at("run"), ...judging]);
		expect(await text((await sampled).stdout.trim().split("\n").at(-4) as string)).toBe(await text(at("run", "filtered_samples.json")));
		const evaluation = JSON.parse((await evaluated).stdout) as { n: number; outcomes: Record<string, number> };
		expect(evaluation).toMatchObject({ n: 8, outcomes: { accepted: expect.any(Number) } });
		expect((await evaluated).stderr).toContain(`question: ${at("run", "checkpoint", "prompt.txt")}`);
		expect(await again).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/already there; .*--overwrite/) });

		await succeed([
			"convert",
			"--filtered_samples_path",
			at("single", "filtered_samples.json"),
			"--output_path",
			at("single", "train.json"),
		]);
		expect(await text(at("single", "train.json"))).toBe(await text(at("run", "rejection_sampling_train.json")));
	}, 120_000);
});

describe("Ctrl-C", () => {
	it("ends sampling with whole files of what was done", async () => {
		const { child, finished } = start([
			...["sample", "--model_path", TINY, "--data_path", PAIRS, "--output_path", at("stopped"), "--batch_size", "1"],
			...["--samples_per_record", "50", "--max_new_tokens", "8", ...SMALL_IMAGES],
		]);
		await until(async () => {
			const names = existsSync(at("stopped")) ? await readdir(at("stopped")) : [];
			const partial = names.find((name) => name.startsWith("rejected_samples.jsonl"));
			return child.exitCode !== null || (partial !== undefined && (await stat(at("stopped", partial))).size > 0);
		});
		child.kill("SIGINT");
		const { code, stderr } = await finished;
		expect(code, stderr).toBe(130);
		const [, done] = /stopped after (\d+) of 200 judgements/.exec(stderr) ?? [];
		expect((await readdir(at("stopped"))).sort()).toEqual([
			"filtered_samples.json",
			"filtered_samples_stats.json",
			"filtered_samples_stats.txt",
			"journal.jsonl",
			"rejected_samples.jsonl",
		]);
		expect(JSON.parse(await text(at("stopped", "filtered_samples.json")))).toEqual([]);
		expect((await text(at("stopped", "rejected_samples.jsonl"))).trim().split("\n")).toHaveLength(Number(done));
		expect(await text(at("stopped", "filtered_samples_stats.txt"))).toContain(`total: ${done}\n`);
	});

	it("ends training with a checkpoint to go on from", async () => {
		await teach();
		await writeFile(at("question.txt"), "Which one fits {prompt}?");
		// At a constant rate, a run may be given another end.
		const constant = ["--lr_scheduler", "constant", "--lr_warmup_steps", "0"];
		const train = [...teaching("halted", "5000"), "--prompt_template", at("question.txt"), ...constant];
		const { child, finished } = start(train);
		await until(
			async () =>
				child.exitCode !== null ||
				(existsSync(at("halted-logs", "metrics.jsonl")) && (await text(at("halted-logs", "metrics.jsonl"))) !== ""),
		);
		child.kill("SIGINT");
		const { code, stderr } = await finished;
		expect(code, stderr).toBe(130);
		const [, checkpoint, step] = /--resume_from_checkpoint (\S+checkpoint-(\d+))`/.exec(stderr) ?? [];
		expect(await text(join(checkpoint, "prompt.txt"))).toBe("Which one fits {prompt}?");
		const steps = String(Number(step) + 2);
		const resumed = await succeed([...train, "--resume_from_checkpoint", checkpoint, "--max_steps", steps]);
		expect(resumed.stdout).toContain(`${steps} steps, loss`);
	});
});
