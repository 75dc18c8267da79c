/** `report` and `filter`: what an earlier run has written, without its judge. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
	correct,
	cotConfiguration,
	filterRollouts,
	type GenerateCotOptions,
	generateCoT,
	loadDataset,
	openJournal,
	swapConsistent,
	wellFormed,
	writeJsonArray,
	writeJsonLines,
} from "../../src/index.js";
import { fakeModel } from "../../src/testing.js";
import { cli, succeed } from "./run-cli.js";

let folder: string;
const at = (name: string) => join(folder, name);
const texts = async (name: string) => await readFile(at(name), "utf8");
const filters = () => [wellFormed(), correct(), swapConsistent()];

/** A judge that answers by its seed; drawn into a journal, and filtered as `run` does. */
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-report-cli-"));
	const answer = (_: unknown, seed: number) =>
		seed % 5 === 0 ? "no form" : `<think>Seed ${seed}.</think>\n<answer>Image ${1 + (seed % 2)} is better</answer>`;
	const sampling: GenerateCotOptions = { samplesPerRecord: 4, seed: 3, batchSize: 3 };
	const configuration = cotConfiguration({ model: { fake: 1 }, processor: {} }, sampling);
	await using journal = await openJournal(at("journal.jsonl"), { configuration, notes: { useCot: true } });
	const records = loadDataset("hpdv3:test/fixtures/hpdv3/pairs.json", { order: "both" });
	await writeJsonLines(at("rejected_samples.jsonl"), async (onRejected) => {
		const rollouts = generateCoT(records, fakeModel({ answer }), { ...sampling, journal });
		await writeJsonArray(at("filtered_samples.json"), filterRollouts(rollouts, filters(), { onRejected }));
	});
});
afterAll(() => rm(folder, { recursive: true }));

const rows = async (name: string) => (JSON.parse(await texts(name)) as { seed: number }[]).map(({ seed }) => seed).sort();

it("filter keeps of a journal, and of kept and rejected ones, what the run kept", async () => {
	const flags = ["--both_orders_rule", "--export", "trl", "--gallery_size", "5"];
	const [ofJournal, ofFiles] = await Promise.all([
		succeed(["filter", at("journal.jsonl"), "--output_path", at("a"), ...flags]),
		succeed(["filter", at("filtered_samples.json"), at("rejected_samples.jsonl"), "--output_path", at("b"), ...flags]),
	]);
	const kept = await rows("filtered_samples.json");
	expect(kept.length).toBeGreaterThan(0);
	expect(await rows("a/filtered_samples.json")).toEqual(kept);
	expect(await rows("b/filtered_samples.json")).toEqual(kept);
	const gallery = async (name: string) => (await texts(`${name}/report.html`)).split('<section id="gallery"')[1];
	expect(await gallery("b")).toBe(await gallery("a"));
	expect((await gallery("a")).match(/<article/g)).toHaveLength(5);
	const exported = async (name: string) => (await texts(`${name}/exports/trl/sft.jsonl`)).split("\n").sort();
	expect(await exported("b")).toEqual(await exported("a"));
	expect(ofJournal.stdout).toContain("turned away by swap-consistent");
	expect(ofFiles.stdout).toContain("report.html");
});

it("report shows kept and rejected ones as they are, and judges a journal's", async () => {
	const [, , clash, missing] = await Promise.all([
		succeed(["report", at("filtered_samples.json"), at("rejected_samples.jsonl"), "--output_path", at("files.html")]),
		succeed(["report", at("journal.jsonl"), "--output_path", at("journal.html"), "--gallery_size", "0"]),
		cli(["report", at("journal.jsonl"), "--output_path", at("journal.jsonl"), "--overwrite"]),
		cli(["report", at("nothing.jsonl"), "--output_path", at("nothing.html")]),
	]);
	expect(await texts("files.html")).toContain('<button data-fate="correct"');
	expect(await texts("files.html")).not.toContain('<button data-fate="wrong"');
	const journal = await texts("journal.html");
	expect(journal).toContain("correct");
	expect(journal).toContain("0 of ");
	expect([clash.code, missing.code]).toEqual([2, 1]);
	expect(clash.stderr).toContain("would be written over");
	expect(missing.stderr).toContain("nothing.jsonl");
});
