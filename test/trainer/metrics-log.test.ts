/** The files of a log folder: JSON lines, W&B's rows, TensorBoard's texts and pictures. */
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import type { JudgedRollout } from "../../src/reward/outcome.js";
import { codeBlock, judgementText } from "../../src/trainer/judgement-text.js";
import { MetricsLog } from "../../src/trainer/metrics-log.js";
import { StepLines } from "../../src/trainer/step-lines.js";
import { WandbHistory } from "../../src/trainer/wandb-history.js";
import { rollout } from "../reward/rollouts.js";
import { BETTER, judgement, record, WORSE } from "../sampler/records.js";
import { type ReadValue, readEvents } from "./read-events.js";

let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(path.join(tmpdir(), "metrics-log-"));
});
afterEach(() => rm(dir, { recursive: true }));

const at = (name: string) => path.join(dir, name);
const linesOf = async (name: string) =>
	(await readFile(at(name), "utf8"))
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line) as Record<string, unknown>);
async function shownOf(): Promise<(ReadValue & { step?: number })[]> {
	const names = (await readdir(dir)).filter((name) => name.startsWith("events."));
	const files = await Promise.all(names.map((name) => readFile(at(name))));
	return files.flatMap((file) => readEvents(file).flatMap(({ step, values }) => values.map((value) => ({ step, ...value }))));
}
const judged = (row: number, completion: string, overrides = {}): JudgedRollout => judgeRollout(rollout(row, completion, overrides));

describe("wandb-history.jsonl", () => {
	it("has one object per step, an evaluation's scores in its step's, and goes on where a resumed run does", async () => {
		let log = await WandbHistory.open(at("h.jsonl"), 100);
		await log.write(1, 101, { "train/loss": 2 });
		await log.write(2, 102.5, { "train/loss": 1 });
		await log.write(2, 103, { "eval/accuracy": 0.5, "train/loss": 9 });
		await log.write(3, 104, { "train/loss": 0.5 });
		await log[Symbol.asyncDispose]();
		const first = { _step: 1, _timestamp: 101, _runtime: 1, "train/loss": 2 };
		const second = { _step: 2, _timestamp: 102.5, _runtime: 2.5, "train/loss": 1, "eval/accuracy": 0.5 };
		expect(await linesOf("h.jsonl")).toEqual([first, second, { _step: 3, _timestamp: 104, _runtime: 4, "train/loss": 0.5 }]);

		log = await WandbHistory.open(at("h.jsonl"), 1000, 2); // stopped for a quarter of an hour, resumed from step 2
		await log.write(2, 1001, { "eval/parseRate": 1 }); // an evaluation to make up for
		await log.write(3, 1002, { "train/loss": 0.25 });
		await log[Symbol.asyncDispose]();
		expect(await linesOf("h.jsonl")).toEqual([
			first,
			{ ...second, "eval/parseRate": 1 },
			{ _step: 3, _timestamp: 1002, _runtime: 4.5, "train/loss": 0.25 },
		]);
	});
});

describe("StepLines", () => {
	it("leaves out later lines and one that was cut off, whatever comes after", async () => {
		const written = [{ step: 1, größe: "ä" }, { step: 2 }, { step: 3 }];
		await writeFile(at("l.jsonl"), `${written.map((line) => JSON.stringify(line)).join("\n")}\n`);
		await appendFile(at("l.jsonl"), '{"step":2,"a very long line that was cut o');
		const all = await StepLines.open(at("l.jsonl"), "step");
		expect(all.last).toEqual({ step: 3 });
		await all.add({ step: 4 });
		await all[Symbol.asyncDispose]();
		expect(await linesOf("l.jsonl")).toEqual([...written, { step: 4 }]);
		const some = await StepLines.open(at("l.jsonl"), "step", 1);
		await some.extend({ more: true });
		await some[Symbol.asyncDispose]();
		expect(await linesOf("l.jsonl")).toEqual([{ step: 1, größe: "ä", more: true }]);
	});
});

describe("judgements", () => {
	it("are JSON lines, texts at each step, and pictures as shown, once", async () => {
		const log = await MetricsLog.open(dir);
		for (const step of [5, 10]) await log.judgements(step, [judged(0, judgement(2)), judged(2, "no answer")]);
		await log[Symbol.asyncDispose]();

		const lines = await linesOf("judgements.jsonl");
		expect(lines).toHaveLength(4);
		expect(lines[0]).toMatchObject({ step: 5, key: "key-0", order: [1, 0], preferred: 0, images: [WORSE, BETTER] });
		expect(lines[0]).toMatchObject({ completion: judgement(2), outcome: "accepted", answer: 2, prompt: "caption 0" });
		expect(lines[3]).toMatchObject({ step: 10, key: "key-2", outcome: "unparsable" });

		const shown = await shownOf();
		const tags = (plugin: string) => shown.filter((value) => value.plugin === plugin).map(({ step, tag }) => `${step} ${tag}`);
		const [swapped, stored] = ["judgements/key-0/swapped", "judgements/key-2/stored"];
		expect(tags("text")).toEqual([5, 10].flatMap((step) => [`${step} ${swapped}/text`, `${step} ${stored}/text`]));
		expect(tags("images")).toEqual([`5 ${swapped}/images`, `5 ${stored}/images`]);

		const [width, height, ...files] = shown.find(({ plugin }) => plugin === "images")?.strings ?? [];
		const [first, second] = await Promise.all(files.map((file) => sharp(file).metadata()));
		expect([first.format, second.format]).toEqual(["jpeg", "jpeg"]);
		expect([String(width), String(height)]).toEqual([
			String(Math.max(first.width, second.width)),
			String(Math.max(first.height, second.height)),
		]);
		const original = await sharp(WORSE).metadata(); // shown first
		expect(first.width / first.height).toBeCloseTo(original.width / original.height, 1);
	});

	it("say which picture can't be shown, and show the other", async () => {
		const log = await MetricsLog.open(dir);
		const lost = record(0, { images: [BETTER, "/lost.png"] }); // shown the other way round
		await log.judgements(1, [judged(0, "", { record: lost, finishReason: "error", error: { kind: "bad-image", message: "gone" } })]);
		await log[Symbol.asyncDispose]();
		const shown = await shownOf();
		expect(shown.find(({ plugin }) => plugin === "images")?.shape).toEqual([3]);
		expect(String(shown.find(({ plugin }) => plugin === "text")?.strings)).toMatch(
			/No answer\*\*: bad-image[\s\S]* {4}gone[\s\S]* {4}\/lost\.png: /,
		);
	});

	it("are texts in which nothing of the judge's or the data's is Markdown or HTML", () => {
		const nasty = 'x\n```\n</code><img src="https://evil.example/a.png">\r# big\rback ![p](https://evil.example)\u202e\u0007';
		const text = judgementText(judged(0, `${nasty}<answer>Image 1 is better</answer>`, { record: record(0, { prompt: nasty }) }));
		const ours = text.split("\n").filter((line) => line !== "" && !line.startsWith("    "));
		expect(ours).toEqual([
			"**No answer**: unparsable. Image 2 is the preferred one, as shown.",
			"Because:",
			"Caption:",
			expect.stringMatching(/^Judgement, \d+ tokens:$/),
		]);
		expect(text).toContain("    back ![p](https://evil.example)\ufffd\ufffd");
		fc.assert(
			fc.property(fc.string({ unit: "binary" }), (any) => {
				expect(
					codeBlock(any)
						.split(/[\n\r]/)
						.every((line) => line.startsWith("    ")),
				).toBe(true);
			}),
		);
	});
});
