/** `sample` and `evaluate` with a remote judge, as processes: the files, and the key in none of them. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { chatServer, fail, type ServerOptions } from "../model/remote/faulty-server.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const KEY = "sk-of-the-command-line";
const DATA = ["--data_path", "hpdv3:test/fixtures/hpdv3/pairs.json", "--no-use_cot"];
const cli = (...args: string[]) =>
	promisify(execFile)(process.execPath, ["--import", "tsx", "src/cli/main.ts", ...args, ...DATA], {
		cwd: ROOT,
		env: { ...process.env, TFJS_RFT_API_KEY: KEY },
	});

it("samples and evaluates, through failures; the key is sent and written nowhere", async () => {
	const folder = await mkdtemp(join(tmpdir(), "rft-cli-remote-"));
	try {
		let asked = 0;
		const everyTenth: ServerOptions["intercept"] = (_, response) => asked++ % 10 === 0 && fail(response, 503, "injected");
		await using server = await chatServer({
			intercept: everyTenth,
			answer: ({ seed }) => `<answer>Image ${1 + (seed % 2)} is better</answer>`,
		});
		const judge = `openai:judge@${server.url}`;
		const output = join(folder, "out");
		const [sampled, evaluated] = await Promise.all([
			cli("sample", "--model_path", judge, "--output_path", output, "--samples_per_record", "4", "--batch_size", "8"),
			cli("evaluate", "--model_path", judge, "--json"),
		]);
		expect(server.headers.every(({ authorization }) => authorization === `Bearer ${KEY}`)).toBe(true);
		expect(sampled.stderr).toContain(`judge: judge at ${server.url}, with the key in TFJS_RFT_API_KEY`);
		expect(sampled.stderr + evaluated.stderr).toContain("asked again after attempt 1");
		const { n, outcomes } = JSON.parse(evaluated.stdout);
		expect(outcomes.accepted + outcomes.wrong + outcomes.tie + outcomes["bad-image"]).toBe(n);
		const texts = await Promise.all((await readdir(output)).map((name) => readFile(join(output, name), "utf8")));
		const kept = JSON.parse(await readFile(join(output, "filtered_samples.json"), "utf8"));
		expect(kept.length).toBeGreaterThan(0);
		for (const text of [...texts, ...[sampled, evaluated].flatMap(({ stdout, stderr }) => [stdout, stderr])])
			expect(text).not.toContain(KEY);
	} finally {
		await rm(folder, { recursive: true });
	}
});
