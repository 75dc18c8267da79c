/** What `train` and `sample` log: the held-out loss and judgements at each evaluation, the sampling's counts. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { trainOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import { cli, succeed } from "./run-cli.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const PAIRS = "hpdv3:test/fixtures/hpdv3/pairs.json";
const SMALL_IMAGES = ["--min_pixels", "784", "--max_pixels", "3136"];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const linesOf = async (...names: string[]) =>
	(await readFile(at(...names), "utf8"))
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-observing-"));
	const rows = (values: string[]) =>
		values.map((value) => ({
			conversations: [
				{ from: "human", value: `count to ${value}` },
				{ from: "gpt", value: `one ${value}` },
			],
			images: [],
		}));
	await writeFile(at("rows.json"), JSON.stringify(rows(["one", "two", "three", "four"])));
	await writeFile(at("held-out.json"), JSON.stringify([...rows(["five"]), { ...rows(["six"])[0], images: ["lost.png"] }]));
});
afterAll(() => rm(scratch, { recursive: true }));

it("takes transformers' names of metrics, and leaves it to the metric which is better", () => {
	const given = {
		pretrain: TINY,
		save_path: "out",
		train_data: at("rows.json"),
		eval_dataset: at("rows.json"),
		eval_data_path: "hpdv3:x.json",
	};
	const parsed = (more: Record<string, unknown>) => parseOptions(trainOptions, { ...given, ...more });
	expect(parsed({ metric_for_best_model: "eval_loss" }).metric_for_best_model).toBe("loss");
	expect(parsed({ metric_for_best_model: "accuracy" }).greater_is_better).toBeUndefined();
	expect(parsed({}).log_judgements).toBe(4);
	expect(() => parsed({ metric_for_best_model: "bleu" })).toThrow(
		/--metric_for_best_model: expected accuracy, parseRate, saysImage1 or loss/,
	);
});

it("train gives the held-out loss with the scores of pairs, keeps the best by it, and logs the same pairs' judgements each time", async () => {
	const { stdout, stderr } = await succeed([
		...["train", "--pretrain", TINY, "--train_data", at("rows.json"), "--save_path", at("judge"), "--log_dir", at("logs"), ...SMALL_IMAGES],
		...["--train_batch_size", "2", "--actor_learning_rate", "1e-3", "--max_steps", "2", "--eval_steps", "1"],
		...["--eval_dataset", at("held-out.json"), "--eval_data_path", PAIRS, "--eval_limit", "2", "--generate_max_len", "4"],
		...["--metric_for_best_model", "eval_loss", "--log_judgements", "1"],
	]);
	expect(stderr).toMatch(/held-out row 1 is left out, bad-image: lost\.png/);
	const scores = [...stdout.matchAll(/^step (\d): (\{.*\})$/gm)].map(([, step, text]) => ({
		step,
		...(JSON.parse(text) as { loss: number }),
	}));
	expect(scores).toMatchObject([
		{ step: "1", accuracy: 0, parseRate: 0 },
		{ step: "2", accuracy: 0, parseRate: 0 },
	]);
	expect(scores[1].loss).toBeLessThan(scores[0].loss);
	expect(stderr).toContain(`best: step 2 with loss ${scores[1].loss}`);

	expect((await readdir(at("logs"))).map((name) => name.replace(/^events\..*/, "events")).sort()).toEqual([
		...["events", "judgements.jsonl", "metrics.jsonl", "wandb-history.jsonl"],
	]);
	const judgements = await linesOf("logs", "judgements.jsonl");
	expect(judgements.map(({ step }) => step)).toEqual([1, 1, 2, 2]); // one pair, both ways round
	expect(new Set(judgements.map(({ key }) => key)).size).toBe(1);
	expect(judgements[0]).toMatchObject({ outcome: "truncated", completion: expect.any(String) });
	const history = await linesOf("logs", "wandb-history.jsonl");
	expect(history.map((row) => [row._step, row["eval/loss"]])).toEqual([
		[1, scores[0].loss],
		[2, scores[1].loss],
	]);
}, 120_000);

it("sample --log_dir logs rows and judgements by what became of them, and begins the log anew when it goes on", async () => {
	await writeFile(
		at("pairs.json"),
		JSON.stringify([
			...JSON.parse(await readFile("test/fixtures/hpdv3/pairs.json", "utf8")).slice(0, 2),
			{ prompt: "lost", path1: "images/lost.png", path2: "images/lost.png" },
		]),
	);
	const sample = [
		...["sample", "--model_path", TINY, "--data_path", `hpdv3:${at("pairs.json")}`, "--image_root", "test/fixtures/hpdv3"],
		...["--output_path", at("sampled"), "--log_dir", at("sample-logs"), "--max_bad_rows", "1", "--orders", "both"],
		...["--max_new_tokens", "4", ...SMALL_IMAGES],
	];
	for (let time = 0; time < 2; time++) {
		await succeed(sample);
		const lines = await linesOf("sample-logs", "sample", "wandb-history.jsonl");
		expect(lines).toHaveLength(1);
		expect(lines[0]).toMatchObject({
			...{ _step: 4, "sample/judgements": 4, "sample/kept": 0, "sample/outcome/truncated": 4, "sample/turned_away/well-formed": 4 },
			...{ "data/rows": 3, "data/pairs": 2, "data/quarantined": 1, "data/quarantined_as/missing-image": 1 },
		});
	}
	expect((await readdir(at("sample-logs", "sample"))).filter((name) => name.startsWith("events."))).toHaveLength(1);
	await rm(at("sampled"), { recursive: true });
	expect((await cli(sample)).stderr).toMatch(/sample-logs\/sample: already there/);
}, 120_000);
