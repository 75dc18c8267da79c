import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { z } from "zod";
import { groupByLength } from "../../src/trainer/length-groups.js";

const numbers = z.array(z.int());
const cases = z
	.array(z.object({ lengths: numbers, batchSize: z.int(), order: numbers, indices: numbers }))
	.parse(JSON.parse(readFileSync(new URL("../fixtures/length-groups.json", import.meta.url), "utf8")));

it.each(cases)("is transformers' order of $lengths.length rows in batches of $batchSize", ({ lengths, batchSize, order, indices }) => {
	expect(groupByLength(order, lengths, batchSize)).toEqual(indices);
});
