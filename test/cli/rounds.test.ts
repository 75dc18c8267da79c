/** `run --rounds`, stopped in a round and gone on with; the judge is the tiny golden checkpoint, taught to say one sentence. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cli, start, succeed } from "./run-cli.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const PAIRS = "hpdv3:test/fixtures/hpdv3/pairs.json";
const SMALL_IMAGES = ["--min_pixels", "784", "--max_pixels", "3136"];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const text = (...names: string[]) => readFile(at(...names), "utf8");

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-rounds-"));
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
	await writeFile(at("teach.json"), JSON.stringify(rows));
	await succeed([
		...[
			"train",
			"--pretrain",
			TINY,
			"--save_path",
			at("judge"),
			"--train_data",
			at("teach.json"),
			"--data_root",
			"test/fixtures/hpdv3/images",
		],
		...["--max_epochs", "24", "--train_batch_size", "2", "--micro_train_batch_size", "2", "--actor_learning_rate", "1e-2", ...SMALL_IMAGES],
	]);
}, 60_000);
afterAll(() => rm(scratch, { recursive: true }));

const run = (...more: string[]) => [
	...["run", "--model_path", at("judge"), "--data_path", PAIRS, "--eval_data_path", PAIRS, "--output_path", at("run"), "--orders", "both"],
	...["--temperature", "0", "--no-use_cot", "--task_instruction", "{prompt}", "--max-new-tokens", "24", ...SMALL_IMAGES],
	...["--train_batch_size", "1", "--max_epochs", "2", "--rounds", "2", "--patience", "2", "--dev_share", "0.5", "--seed", "1", ...more],
];

it("plays rounds in folders of their own; stopped in one, goes on with it and redoes no other; reports what chooses nothing apart", async () => {
	const { child, finished } = start(run());
	while (child.exitCode === null && !existsSync(at("run", "round-2", "journal.jsonl"))) await setTimeout(10);
	child.kill("SIGTERM");
	const stopped = await finished;
	expect(stopped.code, stopped.stderr).toBe(143);
	expect(existsSync(at("run", "round-2", "round.json"))).toBe(false);
	const first = await stat(at("run", "round-1", "round.json"));

	const whole = await succeed(run());
	expect((await stat(at("run", "round-1", "round.json"))).mtimeMs).toBe(first.mtimeMs);
	expect(whole.stderr).not.toContain("round 1: sampling");
	expect(whole.stderr).toContain(`round 2: sampling with ${at("run", "round-1", "checkpoint")}, training ${at("judge")}`);
	expect((await readdir(at("run"))).sort()).toEqual(["best", "round-0", "round-1", "round-2"]);
	expect((await readdir(at("run", "round-2"))).sort()).toEqual([
		...["checkpoint", "filtered_samples.json", "filtered_samples_stats.json", "filtered_samples_stats.txt", "journal.jsonl", "logs"],
		...["rejected_samples.jsonl", "rejection_sampling_train.json", "report.html", "round.json"],
	]);
	expect(whole.stdout).toMatch(
		/dev pairs, which the best round is chosen by:[\s\S]*held-out pairs, which choose nothing:[\s\S]*best: round \d/,
	);
	const { accuracy, facts } = JSON.parse(await text("run", "round-2", "round.json")) as {
		accuracy: number;
		facts: Record<"dev" | "after", { n: number; accuracy: number }>;
	};
	expect([facts.after.n, facts.dev.accuracy]).toEqual([8, accuracy]);
	const sampled = JSON.parse(await text("run", "round-2", "filtered_samples_stats.json")) as { total: number };
	expect(sampled.total + facts.dev.n).toBe(8); // no dev pair is sampled
	expect(await realpath(at("run", "best"))).toMatch(/judge|round-\d\/checkpoint/);

	const again = await succeed(run());
	expect(again.stderr).not.toContain("sampling");
	const summary = (stdout: string) => stdout.slice(stdout.indexOf("dev pairs, which"));
	expect(summary(again.stdout)).toBe(summary(whole.stdout));
	const other = await cli(run("--max_epochs", "3"));
	expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/other settings:\n {2}max_epochs: 2 then, 3 now/) });
}, 180_000);

it("refuses rounds without pairs to choose by, and one journal for all", async () => {
	const [share, journal] = await Promise.all([cli(run("--dev_share", "0")), cli(run("--journal", at("j.jsonl")))]);
	expect(share).toMatchObject({ code: 2, stderr: expect.stringContaining("--dev_share: expected more than 0 with --rounds") });
	expect(journal).toMatchObject({ code: 2, stderr: expect.stringContaining("--journal: expected none with --rounds") });
});
