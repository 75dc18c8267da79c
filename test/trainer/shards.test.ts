/** Which process has what of a vector, and what can't be in shards. */
import { expect, it } from "vitest";
import type { WorkerGroup } from "../../src/backend/cluster/worker-group.js";
import { ownValues, shardLength, shardRange } from "../../src/trainer/sharding/shards.js";
import { resolveOptions } from "../../src/trainer/trainer-options.js";

const group = (rank: number, size: number) => ({ rank, size }) as WorkerGroup;

it("cuts into shards of one length, the last ones filled up with zeros", () => {
	const values = Float32Array.of(1, 2, 3, 4, 5, 6, 7);
	expect(shardLength(7, 3)).toBe(3);
	expect([0, 1, 2].map((rank) => [...ownValues(values, group(rank, 3))])).toEqual([
		[1, 2, 3],
		[4, 5, 6],
		[7, 0, 0],
	]);
	expect([0, 1, 2].map((rank) => [...ownValues(Float32Array.of(9), group(rank, 3))])).toEqual([[9], [0], [0]]);
	expect(shardRange(5, 4, 3)).toEqual({ start: 5, length: 0 });
});

it("refuses what it can't do, before anything begins", () => {
	expect(() => resolveOptions({ zeroStage: 1, optimizer: "adafactor" })).toThrow(/zeroStage 1 with adafactor, .*nothing to shard/);
	expect(() => resolveOptions({ zeroStage: 2, eager: true })).toThrow(/zeroStage 2 with eager/);
	expect(() => resolveOptions({ zeroStage: 3 as 2 })).toThrow("zeroStage is 3; expected 0, 1, 2");
	expect(resolveOptions({}).zeroStage).toBe(0);
});
