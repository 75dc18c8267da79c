import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JudgedRollout } from "../../src/reward/outcome.js";
import { type SelectPerRecordOptions, selectPerRecord } from "../../src/reward/select-per-record.js";
import { record } from "../sampler/records.js";
import { rollout } from "./rollouts.js";

/** "a0 a1 b0": records by letter, each with the stored image that was shown first. */
function accepted(text: string): JudgedRollout[] {
	return text.split(" ").map((name, sampleIndex) => {
		const order = name[1] === "0" ? ([0, 1] as const) : ([1, 0] as const);
		return { ...rollout(0, "", { record: record(0, { key: name[0], order }), sampleIndex }), outcome: "accepted" };
	});
}

async function select(rollouts: JudgedRollout[], options?: SelectPerRecordOptions) {
	const selected = selectPerRecord(rollouts, options);
	const kept: string[] = [];
	for await (const { record: one, sampleIndex } of selected) kept.push(`${one.key}${one.order[0]}:${sampleIndex}`);
	return { kept: kept.join(" "), stats: selected.stats };
}

describe("selectPerRecord", () => {
	it("keeps all by default", async () => {
		const { kept, stats } = await select(accepted("a0 a0 b1"));
		expect(kept).toBe("a0:0 a0:1 b1:2");
		expect(stats).toEqual({ records: 2, recordsKept: 2, kept: 3, droppedOneOrder: 0, droppedOverCap: 0 });
	});

	it("with bothOrders keeps records that are right both ways", async () => {
		const { kept, stats } = await select(accepted("a0 a0 b0 b1 c1 d1 d0"), { bothOrders: true });
		expect(kept).toBe("b0:2 b1:3 d1:5 d0:6");
		expect(stats).toEqual({ records: 4, recordsKept: 2, kept: 4, droppedOneOrder: 3, droppedOverCap: 0 });
	});

	it("caps each order of each record", async () => {
		const { kept, stats } = await select(accepted("a0 a0 a0 a1 b1 b1 b1"), { maxPerOrder: 2 });
		expect(kept).toBe("a0:0 a0:1 a1:3 b1:4 b1:5");
		expect(stats).toMatchObject({ kept: 5, droppedOverCap: 2 });
	});

	it("counts every rollout once", async () => {
		const names = fc.array(fc.constantFrom("a0", "a1", "b0", "b1", "c0"), { minLength: 1 }).map((list) => list.sort().join(" "));
		await fc.assert(
			fc.asyncProperty(names, fc.boolean(), fc.integer({ min: 1, max: 3 }), async (text, bothOrders, maxPerOrder) => {
				const { kept, stats } = await select(accepted(text), { bothOrders, maxPerOrder });
				expect(stats.kept + stats.droppedOneOrder + stats.droppedOverCap).toBe(text.split(" ").length);
				expect(kept === "" ? 0 : kept.split(" ").length).toBe(stats.kept);
				expect(stats.records).toBe(new Set(text.split(" ").map((name) => name[0])).size);
			}),
		);
	});

	it("refuses a cap below 1", () => {
		expect(() => selectPerRecord([], { maxPerOrder: 0 })).toThrow("maxPerOrder: expected 1 or more, got 0");
	});
});
