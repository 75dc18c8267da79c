/** `train --processes`: the launcher, and flags that don't fit. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseWorker } from "../../src/backend/cluster/watch-workers.js";
import { trainOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import { nativeMissing } from "../backend/native-runtime.js";
import { cli } from "./run-cli.js";

const PAIRS = "hpdv3:test/fixtures/hpdv3/pairs.json";
const TINY = "test/fixtures/golden/tiny-qwen2_5_vl";

let scratch: string;
beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-processes-"));
	const rows = ["one", "two", "three"].map((value) => ({
		conversations: [
			{ from: "human", value: `count to ${value}` },
			{ from: "gpt", value: `one ${value}` },
		],
		images: [],
	}));
	await writeFile(join(scratch, "rows.json"), JSON.stringify(rows));
});
afterAll(() => rm(scratch, { recursive: true }));

it("flags that don't fit together, and addresses that can't be, are refused", () => {
	const given = { pretrain: TINY, save_path: "out", train_data: "rows.json" };
	const parsed = (more: Record<string, unknown>) => parseOptions(trainOptions, { ...given, ...more });
	expect(parsed({ workers: "a:1, b:2", rank: "1" }).workers).toEqual(["a:1", "b:2"]);
	expect(() => parsed({ workers: "a:1,b:2" })).toThrow(/--rank is missing: this process.s place in --workers/);
	expect(() => parsed({ workers: "a:1,b:2", rank: "2" })).toThrow(/--rank: expected a place in --workers/);
	expect(() => parsed({ workers: "a:1,b:2", rank: "1", processes: "2" })).toThrow(/--processes: expected it or --workers/);
	expect(parsed({ zero_stage: "2", processes: "2" }).zero_stage).toBe("2");
	expect(() => parsed({ zero_stage: "1" })).toThrow(/--zero_stage: expected --processes or --workers with it/);
	expect(() => parsed({ zero_stage: "1", processes: "2", optim: "adafactor" })).toThrow(
		/--zero_stage: expected none with --optim adafactor/,
	);
	expect(() => parsed({ zero_stage: "2", processes: "2", eager: true })).toThrow(/--zero_stage: expected none with --eager/);
	expect(parseWorker("[::1]:4400")).toEqual({ host: "::1", port: 4400 });
	for (const wrong of ["10.0.0.1", "host:0", "host:70000", ":4400", "a b:1"])
		expect(() => parseWorker(wrong)).toThrow("expected host:port");
});

describe.skipIf(nativeMissing)(`with processes (${nativeMissing ?? "staged"})`, () => {
	const train = (name: string, ...more: string[]) =>
		cli([
			...["train", "--pretrain", TINY, "--train_data", join(scratch, "rows.json"), "--save_path", join(scratch, name)],
			...["--log_dir", join(scratch, `${name}-logs`), "--train_batch_size", "2", "--max_steps", "2", "--processes", "2", ...more],
		]);

	it("two train with shards of optimizer states and gradients", async () => {
		const { code, stdout, stderr } = await train("shards", "--zero_stage", "2", "--eval_data_path", PAIRS, "--generate_max_len", "4");
		expect(code, stderr).toBe(0);
		expect(stdout).toMatch(/^\[0\] step 2: \{"accuracy":.*\n\[0\] 2 steps, loss \d/);
	});

	it("two judge a share each, with the result of one", async () => {
		const evaluate = (...more: string[]) =>
			cli(["evaluate", "--model_path", TINY, "--data_path", PAIRS, "--max_new_tokens", "8", "--score", "--json", ...more]);
		const [one, two] = [await evaluate(), await evaluate("--processes", "2")];
		expect(two.code, two.stderr).toBe(0);
		expect(two.stdout.replace(/^\[0\] /gm, "")).toBe(one.stdout);
		expect(JSON.parse(one.stdout).n).toBeGreaterThan(2);
	});

	it("two train, the first one writes once, and each line says whose it is", async () => {
		const { code, stdout, stderr } = await train("both");
		expect(code, stderr).toBe(0);
		expect(stdout).toMatch(/^\[0\] 2 steps, loss \d/);
		expect(stderr).toMatch(/^2 processes: 127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+$/m);
		expect(stderr).toMatch(/^\[1\] backend: native-cpu/m);
		expect((await readFile(join(scratch, "both-logs", "metrics.jsonl"), "utf8")).trim().split("\n")).toHaveLength(2);
		expect((await readFile(join(scratch, "both", "config.json"), "utf8")).length).toBeGreaterThan(0);
	});
});
