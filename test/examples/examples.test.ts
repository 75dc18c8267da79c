/** Every numbered example runs, as a user would run it, on the bundled judge and data. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
let scratch: string;
beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-examples-"));
});
afterAll(() => rm(scratch, { recursive: true }));

function start(example: string, args: string[]): ChildProcess {
	return spawn(process.execPath, ["--import", "tsx", join("examples", example), ...args], { cwd: ROOT });
}

async function run(example: string, args: string[]): Promise<string> {
	const child = start(example, args);
	let stdout = "";
	let stderr = "";
	child.stdout?.on("data", (data) => (stdout += data));
	child.stderr?.on("data", (data) => (stderr += data));
	const code = await new Promise((resolve) => child.on("close", resolve));
	expect(code, stderr).toBe(0);
	return stdout;
}

describe("examples", { timeout: 120_000 }, () => {
	it("01 samples and filters, and 02 fine-tunes on what was kept", async () => {
		const sampled = await run("01-sample-and-filter.ts", ["--limit", "4", "--output_path", join(scratch, "01")]);
		expect(sampled).toMatch(/accuracy/i);
		const kept = JSON.parse(await readFile(join(scratch, "01", "filtered_samples.json"), "utf8")) as unknown[];
		const rejected = (await readFile(join(scratch, "01", "rejected_samples.jsonl"), "utf8")).trim().split("\n").filter(Boolean);
		expect(kept.length + rejected.length).toBe(4 * 2 * 4);
		expect(kept.length).toBeGreaterThan(0);

		const filtered = join(scratch, "01", "filtered_samples.json");
		const trained = await run("02-fine-tune.ts", ["--filtered", filtered, "--output_path", join(scratch, "02"), "--epochs", "1"]);
		expect(trained).toMatch(/loss \d/);
		expect(await readdir(join(scratch, "02", "checkpoint"))).toEqual(
			expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]),
		);
	});

	it("07 plays a round, and reads it the next time", async () => {
		const args = ["--limit", "12", "--rounds", "1", "--output_path", join(scratch, "07")];
		const played = await run("07-rounds.ts", args);
		expect(played).toMatch(/round 0: \d+\.\d % of the dev pairs, the best so far[\s\S]*round 1: .*conversations: \d+/);
		expect(await run("07-rounds.ts", args)).toBe(played);
		expect(await readdir(join(scratch, "07"))).toEqual(["best", "round-0", "round-1"]);
	});

	it("the demo's configuration runs, on a few of its pairs", async () => {
		const few = ["--limit", "4", "--eval_limit", "4", "--max_epochs", "1", "--output_path", join(scratch, "demo")];
		const output = await run("../src/cli/main.ts", ["run", join("examples", "demo.yaml"), ...few]);
		expect(output).toMatch(/before .*after/);
		expect(output).toMatch(/kept: \d+ of 32 judgements/);
		expect(await readdir(join(scratch, "demo", "checkpoint"))).toEqual(expect.arrayContaining(["model.safetensors", "prompt.txt"]));
	});

	it("03 counts what its own reward rejects", async () => {
		const output = await run("03-custom-reward.ts", []);
		const [, kept, total] = /(\d+) kept of (\d+)/.exec(output)!.map(Number);
		expect(total).toBe(400);
		const rejected = [...output.matchAll(/'?([a-z-]+)'?: (\d+)/g)].reduce((sum, [, , n]) => sum + Number(n), 0);
		expect(kept + rejected).toBe(total);
		expect(output).toContain("low-reward");
	});

	it("04 scores one pair in both orders, with reasoning and without", async () => {
		const rows = JSON.parse(await readFile(join(ROOT, "examples/data/heldout.json"), "utf8")) as {
			prompt: string;
			path1: string;
			path2: string;
		}[];
		const [{ prompt, path1, path2 }] = rows;
		const output = await run("04-score-one-pair.ts", [prompt, join("examples/data", path1), join("examples/data", path2)]);
		expect(output.match(/<answer>Image [12] is better<\/answer>/g)).toHaveLength(2);
		const scores = /: (\d\.\d{3}), .*: (\d\.\d{3}); (?:better: |no clear winner)/.exec(output)?.slice(1).map(Number) ?? [];
		expect(scores[0] + scores[1]).toBeCloseTo(1, 2);
		const quick = await run("04-score-one-pair.ts", [prompt, join("examples/data", path1), join("examples/data", path2), "--no-reasoning"]);
		expect(quick).not.toContain("<think>");
		expect(quick.match(/P\(Image 1\) = \d\.\d{3}/g)).toHaveLength(2);
		expect(quick).toMatch(/better: |no clear winner/);
	});

	it("05 answers requests, says what is wrong with a bad one, and goes on", async () => {
		const child = start("05-http-service.ts", ["--port", "0"]);
		try {
			const url = await new Promise<string>((resolve, reject) => {
				child.stdout?.on("data", (data) => {
					const found = /http:\/\/[^;]+/.exec(String(data));
					if (found) resolve(found[0]);
				});
				child.on("close", () => reject(new Error("the service ended before it listened")));
			});
			const images = ["0000a.jpg", "0000b.jpg"].map((name) => readFile(join(ROOT, "examples/data/heldout", name), "base64"));
			const ask = async (body: unknown) => {
				const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
				return { status: response.status, body: (await response.json()) as { answer?: number; text?: string; error?: string } };
			};
			const bad = await ask({ caption: "two red circles", images: ["AAAA", "AAAA"] });
			expect(bad.status).toBe(400);
			expect(bad.body.error).toMatch(/image/);
			expect((await ask({ images: [] })).status).toBe(400);
			const good = await ask({ caption: "a photo of a rocket", images: await Promise.all(images) });
			expect(good.status).toBe(200);
			expect([1, 2]).toContain(good.body.answer);
			expect(good.body.text).toContain("</answer>");
		} finally {
			child.kill("SIGTERM");
		}
	});

	it("06 learns the same eagerly and as a graph", async () => {
		const output = await run("06-compile.ts", ["60"]);
		const losses = [...output.matchAll(/per step, loss ([\d.]+)/g)].map(([, loss]) => Number(loss));
		expect(losses).toHaveLength(2);
		expect(losses[1]).toBeCloseTo(losses[0], 3);
		expect(output).toMatch(/mode: (graph|eager) \(/);
		expect(output).toMatch(/right on \d+ % of 128 points/);
	});
});
