/** The journal alone: what is written comes back, what is damaged is found, who may write it. Damage is drawn at random by fast-check. */
import { execFile } from "node:child_process";
import { appendFile, copyFile, mkdir, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type Journal, openJournal } from "../../src/sampler/journal.js";
import { configurationDigest, type JournalConfiguration } from "../../src/sampler/journal-configuration.js";
import { JournalError } from "../../src/sampler/journal-error.js";
import { JournalIndex } from "../../src/sampler/journal-index.js";
import { keyMaker, rolloutKey } from "../../src/sampler/journal-key.js";
import type { StoredRollout } from "../../src/sampler/journal-line.js";
import { compactJournal, mergeJournals } from "../../src/sampler/merge-journals.js";
import { readJournal } from "../../src/sampler/read-journal.js";
import { collect, temporaryFolder } from "../dataset/hpdv3-folder.js";
import { record } from "./records.js";

const CONFIGURATION: JournalConfiguration = {
	model: { files: "sha256:1" },
	processor: { files: "sha256:2", minPixels: 784 },
	promptTemplate: "Which fits {prompt}?",
	sampling: { temperature: 1, seed: 0 },
};
const keyOf = (i: number) => rolloutKey("c", record(i), ["a", "b"], 0);
const rollout = (i: number, completion = `said ${i} "…\n\u2028\ud83d\ude00\ud800`): StoredRollout => {
	return { record: record(i), sampleIndex: 0, seed: i, completion, numTokens: 7, finishReason: "stop" };
};
const open = (file: string, configuration = CONFIGURATION) => openJournal(file, { configuration });

let file: string;
beforeEach(async () => {
	file = join(await temporaryFolder(), "journal.jsonl");
});

async function written(to: string, count: number, from = 0): Promise<void> {
	await using journal = await open(to);
	await Promise.all(Array.from({ length: count }, (_, i) => journal.append(keyOf(from + i), rollout(from + i))));
}

async function failure(action: Promise<unknown>): Promise<JournalError> {
	const error = await action.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	if (error instanceof JournalError) return error;
	throw new Error(`expected a JournalError, got ${error}`);
}

/** Every rollout of an open journal is what was written under its key. */
async function intact(journal: Journal): Promise<number[]> {
	const entries = await collect(journal);
	for (const { key, rollout: found } of entries) {
		expect(key).toBe(keyOf(found.seed));
		expect(found).toEqual(rollout(found.seed));
	}
	return entries.map(({ rollout: { seed } }) => seed);
}

describe("a journal", () => {
	it("gives back what it was given, in another process's life, and knows what it has", async () => {
		await written(file, 20);
		await using journal = await open(file);
		expect(journal.size).toBe(20);
		expect(journal.state).toEqual({ cutBytes: 0, duplicates: 0 });
		expect(await intact(journal)).toEqual([...Array(20).keys()]);
		expect(journal.has(keyOf(20))).toBe(false);
		expect((await journal.read(keyOf(7))).rollout).toEqual(rollout(7));
		await expect(journal.read(keyOf(20))).rejects.toThrow(/expected a key that is in the journal/);
	});

	it("acknowledges a line only when it is in the file, and has it from then on", async () => {
		await using journal = await open(file);
		const before = (await stat(file)).size;
		const appended = journal.append(keyOf(0), rollout(0));
		expect(journal.has(keyOf(0))).toBe(false);
		await appended;
		expect((await stat(file)).size).toBeGreaterThan(before);
		expect((await readFile(file, "utf8")).endsWith("\n")).toBe(true);
		expect(journal.has(keyOf(0))).toBe(true);
	});

	it("keeps the first of two rollouts of one key, whether the first is written or under way", async () => {
		await using journal = await open(file);
		await Promise.all([journal.append(keyOf(0), rollout(0)), journal.append(keyOf(0), rollout(0, "other"))]);
		await journal.append(keyOf(0), rollout(0, "other"));
		expect(journal.size).toBe(1);
		expect(await intact(journal)).toEqual([0]);
	});

	it("is JSON Lines that any program can read", async () => {
		await written(file, 3);
		const lines = (await readFile(file, "utf8")).trim().split("\n");
		const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
		expect(rows[0]).toMatchObject({ journal: "tfjs-rft rollouts", version: 1, configuration: CONFIGURATION });
		expect(rows.slice(1).map(({ key }) => key)).toEqual([0, 1, 2].map(keyOf));
	});

	it("refuses another configuration and says what differs; forceNew puts it aside, whole", async () => {
		await written(file, 2);
		const bytes = await readFile(file);
		const other = { ...CONFIGURATION, sampling: { temperature: 0.7, seed: 0, topK: 5 } };
		const error = await failure(open(file, other));
		expect(error.kind).toBe("mismatch");
		expect(error.differences).toEqual(["sampling.temperature: 1 in the journal, 0.7 now", "sampling.topK: nothing in the journal, 5 now"]);
		expect(error.message).toContain("sampling.temperature: 1 in the journal, 0.7 now");
		for (const old of ["old-1", "old-2"]) {
			await using journal = await openJournal(file, { configuration: other, forceNew: true });
			expect(journal.state.setAside).toBe(`${file}.${old}`);
			expect(journal.size).toBe(0);
		}
		expect(await readFile(`${file}.old-1`)).toEqual(bytes);
		const reordered = { ...CONFIGURATION, sampling: { seed: 0, temperature: 1 } };
		expect(configurationDigest(reordered)).toBe(configurationDigest(CONFIGURATION));
	});

	it("is written by one at a time, and says by whom", async () => {
		const first = await open(file);
		const error = await failure(open(file));
		expect(error.kind).toBe("locked");
		expect(error.message).toContain(`is being written by process ${process.pid} on `);
		await first.close();
		await (await open(file)).close();
	});

	it("does not mind a clock that jumps: its lock holds, its lines are read", async () => {
		vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-11-24") });
		onTestFinished(() => void vi.useRealTimers());
		const journal = await open(file);
		for (const [i, now] of ["2026-11-24T02:00", "1990-01-01", "2050-01-01"].entries()) {
			vi.setSystemTime(new Date(now));
			expect(await failure(open(file))).toMatchObject({ kind: "locked" });
			await journal.append(keyOf(i), rollout(i));
		}
		await journal.close();
		vi.setSystemTime(new Date("1980-01-01"));
		await using again = await open(file);
		expect(await intact(again)).toEqual([0, 1, 2]);
	});

	it("is taken over at once from a process that was killed", async () => {
		await written(file, 1);
		const program = `
			import { openJournal } from "./src/sampler/journal.ts";
			await openJournal(${JSON.stringify(file)}, { configuration: ${JSON.stringify(CONFIGURATION)} });
			process.kill(process.pid, "SIGKILL");`;
		const child = promisify(execFile)(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program]);
		await expect(child).rejects.toMatchObject({ signal: "SIGKILL" });
		expect(await readdir(join(file, ".."))).toContain("journal.jsonl.lock");
		await using journal = await open(file);
		expect(journal.size).toBe(1);
	});

	it("says why it can't be written: no folder, a folder in its place", async () => {
		expect(await failure(open(join(file, "..", "none", "j.jsonl")))).toMatchObject({
			kind: "unwritable",
			message: /can't be locked: ENOENT/,
		});
		await mkdir(file);
		await expect(open(file)).rejects.toThrow(/EISDIR/);
	});
});

describe("damage", () => {
	it("at the end is cut off, and only it; the journal goes on from there", async () => {
		await written(file, 3);
		const { size } = await stat(file);
		await truncate(file, size - 9);
		await using journal = await open(file);
		expect(journal.state.cutBytes).toBeGreaterThan(100);
		expect(await intact(journal)).toEqual([0, 1]);
		await journal.append(keyOf(2), rollout(2));
		expect(await intact(journal)).toEqual([0, 1, 2]);
		expect((await stat(file)).size).toBe(size);
	});

	it("before a whole line is an error that says where; compacting takes that line out and says so", async () => {
		await written(file, 4);
		const lines = (await readFile(file, "utf8")).split("\n");
		lines[2] = lines[2].replace("said", "sad ");
		await writeFile(file, lines.join("\n"));
		const error = await failure(open(file));
		expect(error.kind).toBe("damaged");
		expect(error.message).toMatch(
			/line 3 \(bytes \d+ to \d+\): its checksum is [0-9a-f]{8}, expected [0-9a-f]{8}, and line 4 after it is whole; .*compact/,
		);
		const report = await compactJournal(file);
		expect(report).toMatchObject({ rollouts: 3, duplicates: 0, damaged: [expect.stringContaining("line 3 (bytes")] });
		await using journal = await open(file);
		expect(await intact(journal)).toEqual([0, 2, 3]);
	});

	it("of what isn't there or is a folder: says where, why, and what to check", async () => {
		const folder = await temporaryFolder();
		for (const [path, why] of [
			[join(folder, "none.jsonl"), "ENOENT"],
			[folder, "EISDIR"],
		]) {
			const told = { kind: "unreadable", message: expect.stringMatching(new RegExp(`^${path}: can't be read: ${why}.*; check the path$`)) };
			await expect(readJournal(path)).rejects.toMatchObject(told);
		}
	});

	it("of the header, or another file, is refused and left as it is", async () => {
		for (const text of ["not a journal\n", '{"crc":"00000000","journal":"x"}\n', "{", "\n"]) {
			await writeFile(file, text);
			expect(await failure(open(file))).toMatchObject({ kind: "damaged", message: /line 1: expected a journal's header/ });
			expect(await failure(compactJournal(file))).toMatchObject({ kind: "damaged" });
			expect(await readFile(file, "utf8")).toBe(text);
		}
	});

	it("of any kind loses nothing in silence: what is read is what was written, what is lost is said", async () => {
		await written(file, 6);
		const whole = await readFile(file);
		const headerEnd = whole.indexOf(0x0a) + 1;
		const at = fc.integer({ min: headerEnd, max: whole.length });
		const damage = fc.oneof(
			fc.record({ kind: fc.constant("cut" as const), at }),
			fc.record({ kind: fc.constant("change" as const), at, byte: fc.integer({ min: 0, max: 255 }) }),
			fc.record({ kind: fc.constant("insert" as const), at, bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
			fc.record({ kind: fc.constant("remove" as const), at, length: fc.integer({ min: 1, max: 900 }) }),
			fc.record({ kind: fc.constant("zeros" as const), at, length: fc.integer({ min: 1, max: 900 }) }),
		);
		const outcomes = new Set<string>();
		await fc.assert(
			fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (damages) => {
				const bytes = damages.reduce<Buffer>((before, one) => {
					const from = Math.min(one.at, before.length);
					const head = before.subarray(0, from);
					if (one.kind === "cut") return head;
					if (one.kind === "change") return Buffer.concat([head, Buffer.from([one.byte]), before.subarray(from + 1)]);
					if (one.kind === "insert") return Buffer.concat([head, one.bytes, before.subarray(from)]);
					if (one.kind === "remove") return Buffer.concat([head, before.subarray(from + one.length)]);
					return Buffer.concat([head, Buffer.alloc(one.length), before.subarray(from + one.length)]);
				}, whole);
				await writeFile(file, bytes);
				const said: string[] = [];
				const kept = (await collect(await readJournal(file, { onDamage: (where) => said.push(where) }))).map(({ rollout: r }) => r.seed);
				const journal = await open(file).catch((error: unknown) => error);
				if (journal instanceof JournalError) {
					expect([journal.kind, said.length > 0]).toEqual(["damaged", true]);
					outcomes.add("refused");
					const report = await compactJournal(file);
					expect(report.damaged.length).toBe(said.length);
					await using compacted = await open(file);
					expect(await intact(compacted)).toEqual([...new Set(kept)]);
				} else {
					const opened = journal as Journal;
					expect(await intact(opened)).toEqual([...new Set(kept)]);
					expect(opened.state.cutBytes > 0).toBe(said.length > 0);
					outcomes.add(said.length > 0 ? "cut" : "whole");
					await opened.close();
				}
			}),
			{ numRuns: Number(process.env.JOURNAL_RUNS ?? 60) },
		);
		expect(outcomes.has("refused") && outcomes.has("cut")).toBe(true);
	}, 900_000);
});

describe("merging", () => {
	it("joins journals in their order; what is in two of them must agree", async () => {
		const [a, b, out] = ["a", "b", "out"].map((name) => join(file, "..", `${name}.jsonl`));
		await written(a, 3);
		await written(b, 3, 2);
		expect(await mergeJournals(out, [a, b])).toEqual({ rollouts: 5, duplicates: 1, damaged: [] });
		await using merged = await open(out);
		expect(await intact(merged)).toEqual([0, 1, 2, 3, 4]);
		await expect(mergeJournals(out, [a])).rejects.toThrow(/is there already/);

		const odd = join(file, "..", "odd.jsonl");
		await using journal = await open(odd);
		await journal.append(keyOf(1), rollout(1, "something else"));
		const error = await failure(mergeJournals(`${out}2`, [a, odd]));
		expect(error.kind).toBe("mismatch");
		expect(error.message).toMatch(/odd\.jsonl: line 2: sample 0 of record key-1 .* completion: expected "said 1 .*got "something else"/s);
		expect(await readdir(join(file, ".."))).not.toContain("out.jsonl2");
	});

	it("refuses journals of different configurations, and says the difference", async () => {
		await written(file, 1);
		const other = `${file}.other`;
		await (await open(other, { ...CONFIGURATION, model: { files: "sha256:9" } })).close();
		const error = await failure(mergeJournals(`${file}.out`, [file, other]));
		expect(error.message).toMatch(/model\.files: "sha256:1" in .*journal\.jsonl, "sha256:9" in .*\.other/);
	});

	it("takes a journal's repeated lines and torn end out; not while it is being written", async () => {
		await written(file, 2);
		const { 1: line } = (await readFile(file, "utf8")).split("\n");
		await appendFile(file, `${line}\n{"crc":`);
		await copyFile(file, `${file}.copy`);
		{
			await using journal = await open(file);
			expect(journal.state).toMatchObject({ duplicates: 1, cutBytes: 7 });
			expect(await failure(compactJournal(file))).toMatchObject({ kind: "locked" });
		}
		expect(await compactJournal(`${file}.copy`)).toMatchObject({
			rollouts: 2,
			duplicates: 1,
			damaged: [expect.stringContaining("it is cut")],
		});
	});
});

describe("keys", () => {
	it("differ where anything that a text depends on does, and nowhere else", async () => {
		const one = record(1);
		const base = rolloutKey("c", one, ["a", "b"], 0);
		const others = [
			rolloutKey("d", one, ["a", "b"], 0),
			rolloutKey("c", { ...one, key: "k" }, ["a", "b"], 0),
			rolloutKey("c", { ...one, prompt: "p" }, ["a", "b"], 0),
			rolloutKey("c", { ...one, order: [1, 0] }, ["a", "b"], 0),
			rolloutKey("c", one, ["b", "a"], 0),
			rolloutKey("c", one, ["a", "b"], 1),
		];
		expect(new Set([base, ...others]).size).toBe(7);
		expect(rolloutKey("c", { ...one, source: { name: "x", file: "y", row: 9 }, images: ["/c", "/d"] }, ["a", "b"], 0)).toBe(base);
	});

	it("come from the images' bytes as shown", async () => {
		const folder = await temporaryFolder();
		const images = [join(folder, "a"), join(folder, "b")] as const;
		for (const image of images) await writeFile(image, image);
		const [before] = await keyMaker("c")(record(1, { images }), 1);
		expect(await keyMaker("c")(record(1, { images }), 2)).toEqual([before, expect.not.stringMatching(before)]);
		await writeFile(images[0], "another");
		expect((await keyMaker("c")(record(1, { images }), 1))[0]).not.toBe(before);
		await expect(keyMaker("c")(record(1, { images: [images[0], join(folder, "lost")] }), 1)).rejects.toThrow(/lost: ENOENT/);
	});
});

describe("the index", () => {
	it("is a map, in 46 bytes a key or less", () => {
		const [index, map] = [new JournalIndex(16), new Map<string, number>()];
		const before = process.memoryUsage().arrayBuffers;
		for (let i = 0; i < 20_000; i++) {
			const key = keyOf(i % 15_000);
			expect(index.add(key, i + 1)).toBe(!map.has(key));
			if (!map.has(key)) map.set(key, i + 1);
		}
		expect(index.size).toBe(15_000);
		for (const [key, offset] of map) expect(index.offsetOf(key)).toBe(offset);
		expect(index.offsetOf(keyOf(15_000))).toBeUndefined();
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3 * 46 * 15_000);
	});
});
