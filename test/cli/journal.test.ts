/** `sample` with the tiny golden checkpoint: stopped, continued, changed, looked at and merged, on the native or the wasm backend. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cli, start, succeed } from "./run-cli.js";

const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";
const SAMPLE = [
	...[
		"sample",
		"--model_path",
		TINY,
		"--data_path",
		"hpdv3:test/fixtures/hpdv3/pairs.json",
		"--task_instruction",
		"{prompt}",
		"--no-use_cot",
	],
	...["--min_pixels", "784", "--max_pixels", "3136", "--max_new_tokens", "12", "--samples_per_record", "12", "--orders", "both"],
];
const FILES = ["filtered_samples.json", "filtered_samples_stats.json", "filtered_samples_stats.txt", "rejected_samples.jsonl"];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const into = (name: string, ...more: string[]) => [...SAMPLE, "--output_path", at(name), ...more];
const filesOf = (name: string) => Promise.all(FILES.map((file) => readFile(at(name, file), "utf8")));

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-journal-"));
	await succeed(into("whole"));
});
afterAll(() => rm(scratch, { recursive: true }));

it("is stopped by Ctrl-C after what is under way, exits 130, and the same command goes on to the same files", async () => {
	const { child, finished } = start(into("stopped", "--batch_size", "3"));
	const journal = at("stopped", "journal.jsonl");
	const written = async () => existsSync(journal) && (await readFile(journal, "utf8")).split("\n").length > 8;
	while (child.exitCode === null && !(await written())) await setTimeout(10);
	child.kill("SIGINT");
	const { code, stderr } = await finished;
	expect(code, stderr).toBe(130);
	expect(stderr).toContain("finishing the judgements under way; once more stops");
	const [, done, kept] =
		/stopped after (\d+) of 96 judgements; .* goes on from .*journal\.jsonl, where all (\d+) finished/.exec(stderr) ?? [];
	expect(Number(done)).toBeGreaterThan(0);
	expect(Number(kept)).toBeLessThan(96);
	const again = await succeed(into("stopped", "--batch_size", "16"));
	expect(again.stderr).toContain(`journal: going on from the ${kept} judgements in`);
	expect(await filesOf("stopped")).toEqual(await filesOf("whole"));
	expect((await readdir(at("stopped"))).sort()).toEqual([...FILES.slice(0, 3), "journal.jsonl", FILES[3]]);
});

it("refuses changed options with the difference, exit 2, until told to begin a new journal", async () => {
	const before = await filesOf("whole");
	const changed = into("whole", "--temperature", "0.5", "--limit", "1");
	const refused = await cli(changed);
	expect(refused.code).toBe(2);
	expect(refused.stderr).toContain("sampling.temperature: 1 in the journal, 0.5 now");
	expect(refused.stderr).toContain("--force_new");
	expect(await filesOf("whole")).toEqual(before);
	const forced = await succeed([...changed, "--force_new"]);
	expect(forced.stderr).toContain("the one that was there is ");
	expect(existsSync(at("whole", "journal.jsonl.old-1"))).toBe(true);
	const back = await succeed(into("back", "--journal", at("whole", "journal.jsonl.old-1")));
	expect(back.stderr).toContain("going on from the 96 judgements");
	expect(await filesOf("back")).toEqual(before);
});

// Seed 5: with seed 3 one draw of 1152 lies 10⁻⁸ beside the border of two tokens, and the other batch of the second machine turns it (docs/guide/sampling.md).
it("inspect says what is in it; merge joins what two machines drew, and sample makes its files from that", async () => {
	await succeed(into("one", "--limit", "2", "--seed", "5"));
	await succeed(into("two", "--samples_per_record", "6", "--seed", "5"));
	const merged = await succeed(["merge", at("both", "..", "both.jsonl"), at("one", "journal.jsonl"), at("two", "journal.jsonl")]);
	expect(merged.stdout).toMatch(/both\.jsonl: 72 judgements; repeated lines: 24, damaged lines left out: 0/);
	const inspected = await succeed(["inspect", at("both.jsonl")]);
	expect(inspected.stdout).toMatch(/72 judgements, \d+ tokens, \d+ bytes\nfirst: 20.*, last: 20/);
	expect(inspected.stdout).toMatch(/total: 72\n/);
	expect(inspected.stdout).toContain("sampling.seed: 5");
	expect(inspected.stdout).toMatch(/model\.files: sha256:[0-9a-f]{64}/);
	const json = JSON.parse((await succeed(["inspect", at("both.jsonl"), "--json"])).stdout) as {
		rollouts: number;
		stats: { total: number };
	};
	expect(json).toMatchObject({ rollouts: 72, duplicates: 0, damaged: [], stats: { total: 72 } });
	expect((await succeed(["compact", at("both.jsonl")])).stdout).toContain("72 judgements; repeated lines: 0");
	const [missing, other] = await Promise.all([cli(["inspect"]), cli(["inspect", at("one", FILES[0])])]);
	expect([missing.code, other.code]).toEqual([2, 1]);
	expect(other.stderr).toMatch(/line 1: expected a journal's header/);
});
