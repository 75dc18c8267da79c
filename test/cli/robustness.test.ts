/**
 * What happens to `sample` where the machine does not play along: a file that may not grow, an output that can't be written, a second process.
 * The journal's own tests are in test/sampler (killed processes, damage, a tmpfs that is full, a clock that jumps); Ctrl-C is in journal.test.ts.
 */
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { cli, type Finished, start, succeed } from "./run-cli.js";

const SAMPLE = [
	...["sample", "--model_path", "test/fixtures/golden/tiny-qwen2_5_vl", "--data_path", "hpdv3:test/fixtures/hpdv3/pairs.json"],
	...["--task_instruction", "{prompt}", "--no-use_cot", "--min_pixels", "784", "--max_pixels", "3136"],
	...["--max_new_tokens", "8", "--samples_per_record", "16", "--orders", "both", "--batch_size", "4"],
];
const FILES = ["filtered_samples.json", "filtered_samples_stats.json", "filtered_samples_stats.txt", "rejected_samples.jsonl"];

let scratch: string;
const at = (...names: string[]) => join(scratch, ...names);
const into = (name: string) => [...SAMPLE, "--output_path", at(name)];
const filesOf = (name: string) => Promise.all(FILES.map((file) => readFile(at(name, file), "utf8")));

beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-cli-robust-"));
	await chmod(scratch, 0o777);
	await succeed(into("whole"));
});
afterAll(() => rm(scratch, { recursive: true }));

/** The program under a shell's prelude (`ulimit …`), as another user where one is named. */
function under(prelude: string, args: string[], user?: { uid: number; gid: number }): Promise<Finished> {
	const script = `${prelude}; exec "$@"`;
	// Not tsx's own cache folder: another user may not write it.
	const env = { ...process.env, TMPDIR: scratch };
	const program = ["bash", "-c", script, "bash", process.execPath, "--import", "tsx", "src/cli/main.ts", ...args];
	const child = spawn(program[0], program.slice(1), { env, ...user });
	const out = { stdout: "", stderr: "" };
	child.stdout.on("data", (data) => (out.stdout += data));
	child.stderr.on("data", (data) => (out.stderr += data));
	return new Promise((resolve) => child.on("close", (code) => resolve({ code, ...out })));
}

it("a file that may not grow any more (as on a full disk) ends it with the reason; the same command goes on to the same files", async () => {
	const { code, stderr } = await under("ulimit -f 12", into("full"));
	expect(code, stderr).toBe(1);
	expect(stderr).toMatch(
		/journal\.jsonl: can't be written: EFBIG.*; the \d+ rollouts in it are safe, and the same command goes on from them/,
	);
	expect(await readdir(at("full"))).toEqual(["journal.jsonl"]);
	const again = await succeed(into("full"));
	expect(again.stderr).toMatch(/journal: going on from the \d+ judgements/);
	expect(await filesOf("full")).toEqual(await filesOf("whole"));
});

it("an output folder that is read-only ends it before anything is drawn, with the reason", async () => {
	await mkdir(at("read-only"));
	await chmod(at("read-only"), 0o555);
	// Root may write anywhere: then somebody else tries.
	const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;
	const { code, stderr } = await under("true", into("read-only"), nobody);
	expect(code, stderr).toBe(2);
	expect(stderr).toMatch(/read-only: can't be written: EACCES: .*; choose another output path/);
	expect(stderr).not.toContain("sample: ");
	expect(await readdir(at("read-only"))).toEqual([]);
});

it("a second process on one journal is refused with who has it, exit 2, and the first is not disturbed", async () => {
	const first = start([...into("shared"), "--samples_per_record", "64"]);
	const names = () => readdir(at("shared")).catch((): string[] => []);
	while (first.child.exitCode === null && !(await names()).includes("journal.jsonl.owner.json")) await setTimeout(10);
	first.child.kill("SIGSTOP");
	const second = await cli([...into("shared"), "--samples_per_record", "64"]);
	const between = await names();
	first.child.kill("SIGCONT");
	expect(second.code, second.stderr).toBe(2);
	expect(second.stderr).toMatch(
		new RegExp(`journal\\.jsonl: is being written by process ${first.child.pid} on \\S+, since .*; wait for it, or use another`),
	);
	expect(between).toContain("journal.jsonl.owner.json");
	const { code, stdout, stderr } = await first.finished;
	expect(code, stderr).toBe(0);
	expect(stdout).toContain(" of 512 judgements");
	expect(await names()).not.toContain("journal.jsonl.lock");
});

it("bad rows within the budget are in the quarantine and in the statistics; rows read are records and bad rows together", async () => {
	const bad = [
		...into("bad"),
		"--data_path",
		"hpdv3:test/fixtures/hpdv3/bad-rows.jsonl",
		"--samples_per_record",
		"1",
		"--max_new_tokens",
		"4",
	];
	const args = bad.filter(
		(word, i) => !(word === "hpdv3:test/fixtures/hpdv3/pairs.json" || bad[i + 1] === "hpdv3:test/fixtures/hpdv3/pairs.json"),
	);
	const over = await cli([...args, "--max_bad_rows", "6"]);
	expect(over.code).toBe(1);
	expect(over.stderr).toMatch(/^record 1 of .*bad-rows\.jsonl: field prompt/);
	expect(over.stderr).toMatch(/7 bad rows, at most 6 allowed \(all of them: .*quarantined_rows\.jsonl\); .* --max_bad_rows 7/);
	expect(await readdir(at("bad"))).toEqual(["quarantined_rows.jsonl"]);
	const { stderr } = await succeed([...args, "--max_bad_rows", "7"]);
	expect(stderr).toContain("4 wrong-type, 1 missing-image, 1 outside-root, 1 not-json");
	const rows = (await readFile(at("bad", "quarantined_rows.jsonl"), "utf8"))
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line) as object);
	expect(rows).toHaveLength(7);
	for (const row of rows) {
		expect(Object.keys(row).sort()).toEqual(["expected", "field", "file", "got", "kind", "message", "row", "value"]);
	}
	const { input } = JSON.parse(await readFile(at("bad", "filtered_samples_stats.json"), "utf8")) as { input: object };
	expect(input).toEqual({
		rows: 9,
		records: 2,
		ties: 0,
		bad: { "wrong-type": 4, "missing-image": 1, "outside-root": 1, "not-json": 1 },
	});
	expect(await readFile(at("bad", "filtered_samples_stats.txt"), "utf8")).toMatch(
		/rows read: 9\nrows quarantined: 7\nrows quarantined as wrong-type: 4\n/,
	);
});
