import { expect, it } from "vitest";
import type { TrainingRow } from "../../src/trainer/collate.js";
import { differences, identify } from "../../src/trainer/run-identity.js";
import { stepSeed } from "../../src/trainer/step-seed.js";

const image = (bytes: number[]): TrainingRow => ({
	messages: [{ role: "user", content: [{ type: "image", image: Buffer.from(bytes) }] }],
});
const encoded = (tokens: number[]): TrainingRow => ({
	encoded: { inputIds: Int32Array.from(tokens), assistantMask: Uint8Array.of(0, 1), images: [] },
});
const between = (a: TrainingRow[], b: TrainingRow[]) => differences(identify(a, {}), identify(b, {}));

it("knows rows by their content: text, bytes of images, tokens", () => {
	expect(between([image([1, 2]), encoded([3, 4])], [image([1, 2]), encoded([3, 4])])).toEqual([]);
	expect(between([image([1, 2])], [image([1, 3])])).toEqual(["the data is another: its first difference is in rows 0 to 0"]);
	expect(between([encoded([3, 4])], [encoded([3, 5])])).toHaveLength(1);
});

it("shows the block of the first difference, of 32, and keeps no more than that of any data", () => {
	const rows = Array.from({ length: 100 }, (_, i) => encoded([i, i]));
	expect(identify(rows, {}).blocks).toHaveLength(25);
	expect(between(rows, rows.with(50, encoded([0, 0])))).toEqual(["the data is another: its first difference is in rows 48 to 51"]);
	expect(between(rows, rows.slice(1))).toEqual(["there were 100 rows and now are 99"]);
});

it("shows options that differ, came or went, also after having been JSON", () => {
	const [was, is] = [identify([], { a: 1, list: [1], gone: true }), identify([], { a: 2, list: [1], come: "x" })];
	expect(differences(JSON.parse(JSON.stringify(was)) as typeof was, is)).toEqual([
		"a was 1 and is now 2",
		"gone was true and is now not set",
		'come was not set and is now "x"',
	]);
});

it("gives each row of each step a seed of its own", () => {
	const seeds = new Set<number>();
	for (let seed = 0; seed < 5; seed++)
		for (let step = 0; step < 50; step++) for (let row = 0; row < 50; row++) seeds.add(stepSeed(seed, step, row));
	expect(seeds.size).toBeGreaterThan(5 * 50 * 50 - 3); // of 12,500 draws from 2³² one pair in 55 such sets is equal
	expect(stepSeed(42, 3, 7)).toBe(stepSeed(42, 3, 7));
});
