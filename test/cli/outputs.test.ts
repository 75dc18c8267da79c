/** What commands may write over, and what they remove. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { claimOutputs, clearOutputs, sampleFiles } from "../../src/cli/outputs.js";

let folder: string;
beforeEach(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-outputs-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("outputs", () => {
	it("names the files of a folder, or those beside a named file", () => {
		const folderFiles = {
			filtered: "out/filtered_samples.json",
			stats: "out/filtered_samples_stats.txt",
			report: "out/filtered_samples_stats.json",
			rejected: "out/rejected_samples.jsonl",
		};
		expect(sampleFiles("out")).toEqual(folderFiles);
		expect(sampleFiles("out/filtered_samples.json")).toEqual(folderFiles);
		expect(sampleFiles("out/a.json")).toMatchObject({ filtered: "out/a.json", stats: "out/a_stats.txt" });
	});

	it("refuses what is there unless it may be overwritten; an empty folder is not there", async () => {
		const [file, empty] = [join(folder, "a.json"), join(folder, "checkpoint")];
		await mkdir(empty);
		await claimOutputs([file, empty], [], false);
		await writeFile(file, "[]");
		await expect(claimOutputs([file, empty], [], false)).rejects.toThrow(/a\.json: already there; .*--overwrite/);
		await claimOutputs([file, empty], [], true);
	});

	it("lets training log beside the sampling stage's logs", async () => {
		await mkdir(join(folder, "logs", "sample"), { recursive: true });
		await claimOutputs([join(folder, "logs")], [], false);
		await writeFile(join(folder, "logs", "metrics.jsonl"), "");
		await expect(claimOutputs([join(folder, "logs")], [], false)).rejects.toThrow(/logs: already there/);
	});

	it("never writes over what it reads, even if asked to overwrite", async () => {
		const output = join(folder, "checkpoint");
		for (const input of [output, join(output, "checkpoint-3"), join(folder, "x", "..", "checkpoint")]) {
			await expect(claimOutputs([output], [input], true)).rejects.toThrow(/would be written over/);
		}
		await claimOutputs([output], [join(folder, "checkpoint-old"), folder, join(folder, "..")], true);
	});

	it("removes an earlier run's files and nothing else", async () => {
		await mkdir(join(folder, "checkpoint-12"));
		for (const name of [
			"config.json",
			"model.safetensors",
			"model.safetensors.index.json",
			"notes.txt",
			"checkpoint-best.md",
			"metrics.jsonl",
			"wandb-history.jsonl",
			"judgements.jsonl",
		]) {
			await writeFile(join(folder, name), "");
		}
		await clearOutputs({ checkpoint: folder });
		expect((await readdir(folder)).sort()).toEqual([
			"checkpoint-best.md",
			"judgements.jsonl",
			"metrics.jsonl",
			"notes.txt",
			"wandb-history.jsonl",
		]);
		await clearOutputs({ logs: folder, files: [join(folder, "never-there.json")] });
		expect((await readdir(folder)).sort()).toEqual(["checkpoint-best.md", "notes.txt"]);
	});
});
