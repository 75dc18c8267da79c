/** `train --stage dpo`: pairs from a file, flags that reach the trainer, and combinations that are refused. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkEngineFlags } from "../../src/cli/engines/check-engine-flags.js";
import { trl } from "../../src/cli/engines/trl.js";
import { trainOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import { cli, succeed } from "./run-cli.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const SMALL_IMAGES = ["--min_pixels", "784", "--max_pixels", "3136"];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const text = (file: string) => readFile(file, "utf8");

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-dpo-"));
});
afterAll(() => rm(scratch, { recursive: true }));

it("train --stage dpo: pairs as they were exported, from flags and from a file of them", async () => {
	const turn = (from: string, value: string) => ({ from, value });
	const pairs = ["one", "two", "three"].map((word) => ({
		...{ conversations: [turn("human", `count to ${word}`)], chosen: turn("gpt", `one ${word}`), rejected: turn("gpt", "no"), images: [] },
	}));
	await writeFile(at("pairs.jsonl"), pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(""));
	const args = (name: string) => [
		...["train", "--pretrain", TINY, "--train_data", at("pairs.jsonl"), "--save_path", at(name), "--log_dir", at(`${name}-logs`)],
		...["--train_batch_size", "2", "--actor_learning_rate", "1e-3", "--max_epochs", "1", ...SMALL_IMAGES],
	];
	const { stdout, stderr } = await succeed([
		...args("dpo"),
		"--stage",
		"dpo",
		"--pref_beta",
		"0.2",
		"--pref_loss",
		"ipo",
		"--pref_ftx",
		"0.1",
		"--save_steps",
		"2",
	]);
	expect(stdout).toMatch(/^2 steps, loss/);
	expect(stderr).not.toMatch(/warn/i);
	expect(await text(at("dpo-logs", "metrics.jsonl"))).toContain('"train/rewards/margins":');
	const state = JSON.parse(await text(at("dpo", "checkpoint-2", "trainer_state.json"))) as { identity: { options: object } };
	expect(state.identity.options).toMatchObject({ dpo: { beta: 0.2, loss: "ipo", labelSmoothing: 0, ftx: 0.1 } });

	const { stdout: plan } = await succeed([...args("plan"), "--stage", "dpo", "--dry_run"]);
	expect(plan).toMatch(/conversations {2}6,/);
	expect(plan).toMatch(/steps {10}2,/);

	const sft = await cli(args("sft"));
	expect(sft.code).toBe(1);
	expect(sft.stderr).toContain(
		"pairs.jsonl: field chosen: expected nothing in a conversation; pairs of answers are learned from with --stage dpo",
	);
});

it.each([
	[["--stage", "dpo", "--packing"], "--packing: expected none with --stage dpo"],
	[["--stage", "dpo", "--neftune_noise_alpha", "5"], "--neftune_noise_alpha: expected 0 with --stage dpo"],
	[["--stage", "dpo", "--label_smoothing_factor", "0.1"], "--label_smoothing_factor: expected 0 with --stage dpo"],
	[["--pref_beta", "0.2"], "--pref_beta: expected --stage dpo with it"],
	[["--stage", "kto"], "--stage: expected sft or dpo"],
	[["--stage", "dpo", "--engine", "trl"], "--stage can't be handed over to TRL: conversations are handed over; write pairs for it"],
])("train %j is refused", (flags, message) => {
	const parsed = () => {
		const options = parseOptions(trainOptions, given(flags));
		checkEngineFlags(trl, options);
	};
	expect(parsed).toThrow(message);
});

const given = (flags: readonly string[]) => {
	const own: Record<string, unknown> = { pretrain: TINY, save_path: "out", train_data: at("rows.json") };
	for (const [i, name] of flags.entries()) {
		if (!name.startsWith("--")) continue;
		const value = flags[i + 1];
		own[name.slice(2)] = value === undefined || value.startsWith("--") ? true : value;
	}
	return own;
};
