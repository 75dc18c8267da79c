/**
 * A run as `sample` composes it, with a judge without weights, to be killed: `npx tsx test/sampler/journal-run.ts FOLDER BATCH_SIZE [greedy]`.
 * Prints "started" before the first rollout; the three files and the journal are in FOLDER.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { writeJsonArray, writeJsonLines } from "../../src/files/write-json-rows.js";
import { writeText } from "../../src/files/write-text.js";
import type { GenerativeModel } from "../../src/model/generative-model.js";
import { formatStats } from "../../src/reward/judgement-stats.js";
import { rejectFiltered } from "../../src/reward/reject-filtered.js";
import { selectPerRecord } from "../../src/reward/select-per-record.js";
import { cotConfiguration, generateCoT } from "../../src/sampler/generate-cot.js";
import { openJournal } from "../../src/sampler/journal.js";
import { fakeModel } from "../../src/testing.js";
import { judgement, record, WORSE } from "./records.js";

const [folder, batchSize, how] = process.argv.slice(2);
const options = { batchSize: Number(batchSize), ...(how === "greedy" ? { temperature: 0 } : { samplesPerRecord: 3 }), seed: 7 };

const fake = fakeModel({
	answer: (_, seed) => (seed % 11 === 1 ? "no idea" : judgement(seed % 3 === 0 ? 1 : 2, `${seed} ${"look ".repeat(seed % 50)}`)),
});
/** Slow enough to be killed in the middle of. */
const model: GenerativeModel = {
	...fake,
	async generate(...args) {
		await setTimeout(6);
		return fake.generate(...args);
	},
};
/** Some equal ones, and one that can't be read. */
const records = Array.from({ length: 60 }, (_, i) => record(i % 55, i === 20 ? { images: ["/lost.png", WORSE] } : {}));

await mkdir(folder, { recursive: true });
const judge = { model: { name: "fake" }, processor: { name: "fake" } };
await using journal = await openJournal(join(folder, "journal.jsonl"), { configuration: cotConfiguration(judge, options) });
process.stdout.write("started\n");
const stats = await writeJsonLines(join(folder, "rejected_samples.jsonl"), async (onRejected) => {
	const accepted = rejectFiltered(generateCoT(records, model, { ...options, journal }), { onRejected });
	await writeJsonArray(join(folder, "filtered_samples.json"), selectPerRecord(accepted));
	return accepted.stats;
});
await writeText(join(folder, "filtered_samples_stats.txt"), formatStats(stats));
