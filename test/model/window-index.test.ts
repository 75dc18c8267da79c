import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { frameSeqlens, patchPositions, reorderUnits, windowIndex } from "../../src/model/qwen2_5_vl/window-index.js";
import { invertIndex } from "../../src/nn/select-rows.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";

interface Row {
	window_size: number;
	grid_thw: number[][];
	window_index: number[];
	cu_window_seqlens: number[];
	reverse: number[];
	cu_seqlens: number[];
}
const { rows } = JSON.parse(readFileSync(goldenPath("window_index.json"), "utf8")) as { rows: Row[] };

describe("windowIndex", () => {
	it.each(rows)("equals transformers' for window $window_size, grid $grid_thw", (row) => {
		const order = windowIndex(row.grid_thw, { spatialMergeSize: 2, windowSize: row.window_size, patchSize: 14 });
		expect([...order.windowIndex]).toEqual(row.window_index);
		expect(order.cuWindowSeqlens).toEqual(row.cu_window_seqlens);
		expect([...invertIndex(order.windowIndex, order.windowIndex.length)]).toEqual(row.reverse);
		expect(frameSeqlens(row.grid_thw)).toEqual(row.cu_seqlens);
	});

	it("orders the documented example", () => {
		const order = windowIndex([[1, 6, 6]], { spatialMergeSize: 2, windowSize: 56, patchSize: 14 });
		expect([...order.windowIndex]).toEqual([0, 1, 3, 4, 2, 5, 6, 7, 8]);
		expect(order.cuWindowSeqlens).toEqual([0, 16, 24, 32, 36]);
	});
});

describe("patchPositions", () => {
	it.each(["one", "two"])("equals transformers' rows and columns: %s", async (tag) => {
		const reference = await golden("vision");
		const { data } = reference.int(`${tag}.grid_thw`);
		const grids = Array.from({ length: data.length / 3 }, (_, i) => [...data.subarray(3 * i, 3 * i + 3)]);
		expect([...patchPositions(grids, 2)]).toEqual([...reference.int(`${tag}.position_ids_hw`).data]);
	});
});

describe("reorderUnits", () => {
	it("moves whole rows", () => {
		expect([...reorderUnits(Int32Array.from([1, 2, 3, 4, 5, 6]), Int32Array.from([2, 0, 1]), 2)]).toEqual([5, 6, 1, 2, 3, 4]);
	});
});
