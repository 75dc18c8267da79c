/** Journals whose bytes are spoiled: what is read is what was written under that key, what is lost is said, nothing else is thrown. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openJournal } from "../../src/sampler/journal.js";
import { JournalError } from "../../src/sampler/journal-error.js";
import { rolloutKey } from "../../src/sampler/journal-key.js";
import { encodeEntry, type StoredRollout } from "../../src/sampler/journal-line.js";
import { readJournal } from "../../src/sampler/read-journal.js";
import { record } from "../sampler/records.js";
import { RUNS, type Spoiling, spoil, spoilings, TIMEOUT, timed } from "./fuzz.js";

const CONFIGURATION = { model: { name: "m" }, processor: {}, promptTemplate: "{prompt}", sampling: { seed: 0 } };
const COUNT = 3;
/** Files that are read side by side: most of a small file's time is the disk's. */
const AT_ONCE = 10;
const keyOf = (i: number) => rolloutKey("c", record(i), ["a", "b"], 0);
const rollout = (i: number): StoredRollout => {
	return { record: record(i), sampleIndex: 0, seed: i, completion: `said ${i} "…\n\u2028`, numTokens: 7, finishReason: "stop" };
};

let folder: string;
let file: string;
let whole: Buffer;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-fuzz-journal-"));
	file = join(folder, "journal.jsonl");
	await using journal = await openJournal(file, { configuration: CONFIGURATION });
	for (let i = 0; i < COUNT; i++) await journal.append(keyOf(i), rollout(i));
	whole = await readFile(file);
});
afterAll(() => rm(folder, { recursive: true }));

/** @returns the seeds that were read and what was said, or undefined for a file that is no journal. */
async function read(bytes: Buffer, file: string): Promise<{ seeds: number[]; said: string[]; duplicates: number } | undefined> {
	await writeFile(file, bytes);
	const said: string[] = [];
	const seeds: number[] = [];
	try {
		const journal = await readJournal(file, { onDamage: (where) => said.push(where) });
		for await (const { key, rollout: found } of journal) {
			expect(key).toBe(keyOf(found.seed));
			expect(found).toEqual(rollout(found.seed));
			seeds.push(found.seed);
		}
		return { seeds, said, duplicates: journal.duplicates };
	} catch (error) {
		if (!(error instanceof JournalError)) throw error;
		expect(error).toMatchObject({ kind: "damaged", message: expect.stringContaining("line 1: expected a journal's header") });
		return undefined;
	}
}

/** @param seen what has become of the files so far */
async function readSpoiled(changes: Spoiling[] | null, file: string, seen: Record<"refused" | "whole" | "damaged", number>): Promise<void> {
	const bytes = changes === null ? whole : spoil(whole, changes);
	const found = await read(bytes, file);
	if (!found) return void seen.refused++;
	const { seeds, said, duplicates } = found;
	expect(new Set(seeds).size).toBe(seeds.length);
	const text = bytes.toString("latin1");
	const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0) - 1;
	expect(seeds.length + said.length + duplicates).toBe(lines);
	seen[said.length > 0 ? "damaged" : "whole"]++;
}

it(
	"spoiled anywhere lose nothing unsaid: every line is read, or told, or repeats another",
	async () => {
		const seen = { refused: 0, whole: 0, damaged: 0 };
		await fc.assert(
			fc.asyncProperty(fc.array(fc.option(spoilings, { freq: 20 }), { minLength: AT_ONCE, maxLength: AT_ONCE }), (all) =>
				timed(async () => void (await Promise.all(all.map((changes, i) => readSpoiled(changes, `${file}.${i}`, seen))))),
			),
			{ numRuns: Math.ceil(RUNS / AT_ONCE) },
		);
		expect(Math.min(seen.refused, seen.whole, seen.damaged)).toBeGreaterThan(RUNS / 200);
	},
	TIMEOUT,
);

it(
	"with lines that carry a right checksum and anything else are read without a crash",
	async () => {
		const fields = fc.dictionary(fc.constantFrom("key", "time", "rollout", "crc", "__proto__"), fc.jsonValue(), { noNullPrototype: true });
		const line = fc.oneof(
			fields,
			fc.record({
				key: fc.constantFrom(keyOf(0), keyOf(9), "k", ""),
				time: fc.string(),
				rollout: fc.oneof(fc.jsonValue(), fc.constant(rollout(0))),
			}),
		);
		const header = whole.subarray(0, whole.indexOf(0x0a) + 1);
		await fc.assert(
			fc.asyncProperty(fc.array(line, { minLength: 10, maxLength: 10 }), async (lines) => {
				// What is encoded is not what the type says: that is the point.
				const bytes = Buffer.concat([header, ...lines.map((one) => encodeAny(one))]);
				await writeFile(file, bytes);
				const said: string[] = [];
				const journal = await readJournal(file, { onDamage: (where) => said.push(where) });
				let count = 0;
				for await (const { key } of journal) {
					expect(key).toMatch(/^[0-9a-f]{32}$/);
					count++;
				}
				expect(count + said.length + journal.duplicates).toBe(lines.length);
			}),
			{ numRuns: Math.ceil(RUNS / 10) },
		);
	},
	TIMEOUT,
);

function encodeAny(fields: object): Buffer {
	const { key, time, rollout: said } = fields as Parameters<typeof encodeEntry>[0];
	return encodeEntry({ ...fields, key, time, rollout: said });
}
