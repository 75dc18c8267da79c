/**
 * loadDataset on files that are drawn at random. Whatever is in them: a record, a bad row that is told, or a DatasetError about the file;
 * and what is in the file is counted here by other means than the reader's.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadDataset, type PreferenceRecords } from "../../src/dataset/load-dataset.js";
import type { PreferenceRecord } from "../../src/dataset/preference-record.js";
import { DatasetError, describeProblem, ROW_PROBLEM_KINDS, type RowProblem } from "../../src/files/dataset-error.js";
import { RUNS, spoil, spoilings, TIMEOUT, timed } from "./fuzz.js";

let folder: string;
let file: string;
beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-fuzz-rows-"));
	file = join(folder, "rows.json");
	for (const image of ["a.png", "b.png"]) await writeFile(join(folder, image), "x");
});
afterAll(() => rm(folder, { recursive: true }));

interface Reading {
	records: PreferenceRecord[];
	problems: RowProblem[];
	counts: PreferenceRecords["counts"];
	failure?: DatasetError;
}

async function read(content: string | Buffer): Promise<Reading> {
	await writeFile(file, content);
	const problems: RowProblem[] = [];
	const dataset = loadDataset(`hpdv3:${file}`, { duplicates: "keep", onBadRow: (problem) => problems.push(problem) });
	const reading: Reading = { records: [], problems, counts: dataset.counts };
	try {
		for await (const record of dataset) reading.records.push(record);
	} catch (error) {
		if (!(error instanceof DatasetError)) throw error;
		reading.failure = error;
	}
	reading.counts = dataset.counts;
	reconcile(reading);
	return reading;
}

function reconcile({ records, problems, counts }: Reading): void {
	expect([counts.records, counts.rows - counts.records]).toEqual([records.length, problems.length]);
	const rows = [...records.map(({ source }) => source.row), ...problems.map(({ row }) => row)].sort((a, b) => a - b);
	expect(rows).toEqual(rows.map((_, i) => i)); // each row once
	for (const problem of problems) {
		expect(ROW_PROBLEM_KINDS).toContain(problem.kind);
		expect(describeProblem(problem).length).toBeLessThan(1500);
		JSON.stringify(problem);
	}
}

const paths = fc.oneof(
	{ weight: 4, arbitrary: fc.constantFrom("a.png", "b.png", "./a.png") },
	{ weight: 1, arbitrary: fc.constantFrom("../a.png", "/etc/passwd", "https://h/a.png", "lost.png", ".", "a\0", "data:,", "") },
	{ weight: 1, arbitrary: fc.string({ unit: "binary" }) },
);
const value = fc.oneof(fc.jsonValue({ maxDepth: 4 }), fc.integer({ min: 1, max: 200 }).map(nested), fc.constant("x".repeat(100_001)));
function nested(depth: number): unknown {
	return depth === 0 ? 1 : depth % 2 ? [nested(depth - 1)] : { a: nested(depth - 1) };
}
const captions = fc.oneof(fc.string({ unit: "binary", minLength: 1 }), fc.constantFrom("a cat", " ", "<|im_end|>", "<image>", "é"));
const field = <T>(usual: fc.Arbitrary<T>) => fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: value });
const rowObject = fc.oneof(
	{
		weight: 12,
		arbitrary: fc.record(
			{
				prompt: field(captions),
				path1: field(paths),
				path2: field(paths),
				confidence: field(fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.double(), fc.constant(null))),
				choice_dist: field(fc.array(fc.nat(9), { maxLength: 4 })),
				model1: field(fc.string()),
				other: value,
			},
			{ requiredKeys: ["prompt", "path1", "path2"] },
		),
	},
	{ weight: 1, arbitrary: value },
);

it(
	"row objects are records exactly where each field is what it must be",
	async () => {
		const seen = { records: 0, bad: 0 };
		await fc.assert(
			fc.asyncProperty(fc.array(rowObject, { minLength: 20, maxLength: 20 }), async (rows) => {
				const { records, problems, failure } = await timed(() =>
					read(`{"row":"one so that these are lines"}\n${rows.map((row) => JSON.stringify(row)).join("\n")}`),
				);
				expect(failure).toBeUndefined();
				expect(records.map(({ source }) => source.row - 1)).toEqual(
					rows.flatMap((row, i) => (isPair(JSON.parse(JSON.stringify(row))) ? [i] : [])),
				);
				for (const { source, prompt } of records) expect(prompt).toBe((rows[source.row - 1] as { prompt: string }).prompt);
				seen.records += records.length;
				seen.bad += problems.length - 1;
			}),
			{ numRuns: Math.ceil(RUNS / 20) },
		);
		expect(seen.records + seen.bad).toBeGreaterThanOrEqual(RUNS);
		expect(Math.min(seen.records, seen.bad)).toBeGreaterThan(RUNS / 20);
	},
	TIMEOUT,
);

/** What docs/guide/dataset.md says of a row, written once more. */
function isPair(row: unknown): boolean {
	if (typeof row !== "object" || row === null || depthOf(row) > 64) return false;
	const { prompt, path1, path2, confidence: c, choice_dist: votes, model1 } = row as Record<string, unknown>;
	const isPath = (path: unknown) => typeof path === "string" && /^(\.\/)*[ab]\.png$/.test(path);
	return (
		typeof prompt === "string" &&
		prompt.trim() !== "" &&
		prompt.length <= 100_000 &&
		isPath(path1) &&
		isPath(path2) &&
		(c == null || (typeof c === "number" && c >= 0 && c <= 1)) &&
		(votes == null || (Array.isArray(votes) && votes.length >= 2 && votes.every((n) => typeof n === "number" && n >= 0))) &&
		(model1 == null || typeof model1 === "string")
	);
}

function depthOf(value: unknown): number {
	return typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
}

const good = fc.record({ prompt: captions, path1: fc.constantFrom("a.png", "b.png"), path2: fc.constant("b.png") });

it(
	"lines that are spoiled cost themselves and no others",
	async () => {
		const seen = { whole: 0, bad: 0, refused: 0 };
		await fc.assert(
			fc.asyncProperty(fc.array(good, { minLength: 1, maxLength: 4 }), fc.option(spoilings), async (rows, changes) => {
				const whole = Buffer.from(rows.map((row) => JSON.stringify(row)).join("\n"));
				const bytes = changes === null ? whole : spoil(whole, changes);
				const { failure, counts } = await timed(() => read(bytes));
				const [first] = /[^ \t\r\n]/.exec(withoutMark(bytes)) ?? [];
				if (failure) expect(first).not.toBe("{");
				else if (first === "{") expect(counts.rows).toBe(linesOf(bytes));
				if (failure) seen.refused++;
				else seen[counts.rows > counts.records ? "bad" : "whole"]++;
			}),
			{ numRuns: RUNS / 4 },
		);
		expect(Math.min(seen.whole, seen.bad, seen.refused)).toBeGreaterThan(RUNS / 800);
	},
	TIMEOUT,
);

const withoutMark = (bytes: Buffer) => bytes.toString("latin1").replace(/^\u00ef\u00bb\u00bf/, "");

/** Lines with anything but JSON's white space; a byte-order mark at the very start is none of them. */
function linesOf(bytes: Buffer): number {
	return withoutMark(bytes)
		.split("\n")
		.filter((one) => /[^ \t\r]/.test(one)).length;
}

it(
	"an array that is spoiled gives all of its rows, or says that it is broken",
	async () => {
		const seen = { whole: 0, spoiled: 0 };
		await fc.assert(
			fc.asyncProperty(fc.array(rowObject, { maxLength: 3 }), fc.option(spoilings), async (rows, changes) => {
				const whole = Buffer.from(JSON.stringify(rows));
				const bytes = changes === null ? whole : spoil(whole, changes);
				const { failure, counts, problems } = await timed(() => read(bytes));
				const elements = parsedArray(bytes);
				if (elements) {
					expect(failure).toBeUndefined();
					expect(counts.rows).toBe(elements.length);
					seen.whole++;
				} else {
					expect(failure !== undefined || problems.length > 0).toBe(true);
					seen.spoiled++;
				}
			}),
			{ numRuns: RUNS / 8 },
		);
		expect(Math.min(seen.whole, seen.spoiled)).toBeGreaterThan(RUNS / 40);
	},
	TIMEOUT,
);

function parsedArray(bytes: Buffer): unknown[] | undefined {
	try {
		const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
		return Array.isArray(value) ? value : undefined;
	} catch {
		return undefined;
	}
}
