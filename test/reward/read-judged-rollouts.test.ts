import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { writeJsonArray, writeJsonLines } from "../../src/files/write-json-rows.js";
import type { JudgedRollout } from "../../src/reward/outcome.js";
import { readJudgedRollouts } from "../../src/reward/read-judged-rollouts.js";
import { rejectFiltered } from "../../src/reward/reject-filtered.js";
import { generateCoT } from "../../src/sampler/generate-cot.js";
import { fakeModel } from "../../src/testing.js";
import { collect, temporaryFolder } from "../dataset/hpdv3-folder.js";
import { judgement, record, records, WORSE } from "../sampler/records.js";

describe("accepted and rejected rollouts", () => {
	it("go to files and come back the same", async () => {
		const folder = await temporaryFolder();
		const [acceptedFile, rejectedFile] = [join(folder, "filtered_samples.json"), join(folder, "rejected_samples.jsonl")];
		const all = [
			...records(9),
			record(9, { images: ["/lost.png", WORSE], choiceDist: [3, 1], confidence: 0.75, model1: "a", model2: "b" }),
		];
		const rollouts = generateCoT(all, fakeModel({ answer: (_, seed) => (seed % 5 ? judgement(seed % 2 ? 1 : 2) : "?") }), {
			samplesPerRecord: 3,
		});
		const rejected: JudgedRollout[] = [];
		const accepted: JudgedRollout[] = [];
		const count = await writeJsonLines<JudgedRollout, number>(rejectedFile, async (write) => {
			const onRejected = (judged: JudgedRollout) => {
				rejected.push(judged);
				return write(judged);
			};
			async function* kept() {
				for await (const judged of rejectFiltered(rollouts, { onRejected })) {
					accepted.push(judged);
					yield judged;
				}
			}
			return writeJsonArray(acceptedFile, kept());
		});
		expect(count).toBe(accepted.length);
		expect(accepted.length + rejected.length).toBe(30);
		expect(await collect(readJudgedRollouts(acceptedFile))).toEqual(accepted);
		expect(await collect(readJudgedRollouts(rejectedFile))).toEqual(rejected);
		expect(JSON.parse(await readFile(acceptedFile, "utf8"))).toEqual(accepted);
		expect((await readdir(folder)).sort()).toEqual(["filtered_samples.json", "rejected_samples.jsonl"]);
	});

	it("leave no file behind when the run fails, and the one before untouched", async () => {
		const folder = await temporaryFolder();
		const file = join(folder, "filtered_samples.json");
		await writeFile(file, "before");
		async function* failing() {
			yield { a: 1 };
			throw new Error("out of memory");
		}
		await expect(writeJsonArray(file, failing())).rejects.toThrow("out of memory");
		await expect(writeJsonLines(join(folder, "rejected.jsonl"), () => writeJsonArray(file, failing()))).rejects.toThrow("out of memory");
		expect(await readdir(folder)).toEqual(["filtered_samples.json"]);
		expect(await readFile(file, "utf8")).toBe("before");
	});

	it("are checked row by row", async () => {
		const file = join(await temporaryFolder(), "filtered_samples.json");
		await writeJsonArray(file, [{ record: record(0), sampleIndex: -1 }]);
		await expect(collect(readJudgedRollouts(file))).rejects.toThrow(
			`record 0 of ${file}: field sampleIndex: expected number to be >=0, got number -1`,
		);
	});
});
