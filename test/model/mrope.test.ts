import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mropeAngles, mropePositions } from "../../src/model/qwen2_5_vl/mrope.js";
import { golden, goldenPath } from "../fixtures/read-golden.js";

interface Case {
	name: string;
	image_grid_thw: number[][] | null;
	video_grid_thw: number[][] | null;
	second_per_grid_ts: number[] | null;
	rope_deltas: number[];
}
const meta = JSON.parse(readFileSync(goldenPath("rope_index.json"), "utf8")) as {
	tokens_per_second: number;
	image_token_id: number;
	video_token_id: number;
	cases: Case[];
};
const options = {
	imageTokenId: meta.image_token_id,
	videoTokenId: meta.video_token_id,
	spatialMergeSize: 2,
	tokensPerSecond: meta.tokens_per_second,
};

describe("mropePositions", async () => {
	const reference = await golden("rope_index");

	it.each(meta.cases)("equals transformers' get_rope_index: $name", (c) => {
		const ids = reference.int(`${c.name}.input_ids`);
		const mask = reference.int(`${c.name}.attention_mask`);
		const { positionIds, ropeDeltas } = mropePositions(ids.data, mask.data, ids.shape as [number, number], {
			...options,
			imageGridThw: c.image_grid_thw ?? undefined,
			videoGridThw: c.video_grid_thw ?? undefined,
			secondPerGridTs: c.second_per_grid_ts ?? undefined,
		});
		expect([...positionIds]).toEqual([...reference.int(`${c.name}.position_ids`).data]);
		expect([...ropeDeltas]).toEqual(c.rope_deltas);
	});

	it("places the documented example", () => {
		const image = meta.image_token_id;
		const ids = Int32Array.from([1, 2, ...Array<number>(6).fill(image), 3, 4]);
		const { positionIds, ropeDeltas } = mropePositions(ids, new Int32Array(10).fill(1), [1, 10], { ...options, imageGridThw: [[1, 4, 6]] });
		expect([...positionIds.subarray(0, 10)]).toEqual([0, 1, 2, 2, 2, 2, 2, 2, 5, 6]);
		expect([...positionIds.subarray(10, 20)]).toEqual([0, 1, 2, 2, 2, 3, 3, 3, 5, 6]);
		expect([...positionIds.subarray(20)]).toEqual([0, 1, 2, 3, 4, 2, 3, 4, 5, 6]);
		expect([...ropeDeltas]).toEqual([-3]);
	});

	it("begins anew with each conversation of a packed row, after its padding-free tokens as in a row of its own", () => {
		const image = meta.image_token_id;
		// An image at the very border: its run must end with its conversation.
		const first = [1, ...Array<number>(6).fill(image)];
		const second = [...Array<number>(4).fill(image), 7, 8];
		const alone = [first, second].map((ids, i) =>
			mropePositions(Int32Array.from(ids), new Int32Array(ids.length).fill(1), [1, ids.length], {
				...options,
				imageGridThw: [[[1, 4, 6]], [[1, 4, 4]]][i],
			}),
		);
		const ids = Int32Array.from([...first, ...second, 0, 0]);
		const segmentIds = Int32Array.from([...first.map(() => 1), ...second.map(() => 2), 0, 0]);
		const mask = segmentIds.map((segment) => Math.min(1, segment));
		const packed = mropePositions(ids, mask, [1, ids.length], {
			...options,
			segmentIds,
			imageGridThw: [
				[1, 4, 6],
				[1, 4, 4],
			],
		});
		for (let axis = 0; axis < 3; axis++) {
			const own = alone.flatMap(({ positionIds }) => [
				...positionIds.subarray((axis * positionIds.length) / 3, ((axis + 1) * positionIds.length) / 3),
			]);
			expect([...packed.positionIds.subarray(axis * ids.length, (axis + 1) * ids.length)]).toEqual([...own, 0, 0]);
		}
		expect([...packed.ropeDeltas]).toEqual([...alone[1].ropeDeltas]);
	});

	it("names the row and the image whose grid does not fit its tokens", () => {
		const ids = Int32Array.from([1, meta.image_token_id, meta.image_token_id]);
		expect(() => mropePositions(ids, new Int32Array(3).fill(1), [1, 3], { ...options, imageGridThw: [[1, 4, 6]] })).toThrow(
			/row 0: image 0 has a grid of 1×4×6 patches = 6 tokens, but 2 image tokens/,
		);
		expect(() => mropePositions(ids, new Int32Array(3).fill(1), [1, 3], options)).toThrow(/only 0 image grids were given/);
		expect(() => mropePositions(Int32Array.from([1]), Int32Array.from([1]), [1, 1], { ...options, imageGridThw: [[1, 2, 2]] })).toThrow(
			/1 image grids were given, but the token ids have placeholders for 0/,
		);
	});
});

describe("mropeAngles", () => {
	it("turns each frequency by the axis of its section", () => {
		// one token at t = 1, h = 10, w = 100; sections [1, 1, 1]
		expect([...mropeAngles(Int32Array.from([1, 10, 100]), Float32Array.from([1, 0.5, 0.25]), [1, 1, 1])]).toEqual([1, 5, 25]);
	});
});
