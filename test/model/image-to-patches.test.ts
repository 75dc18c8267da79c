/** The addon against the JavaScript that is tested against Pillow (processor-image.test.ts): the same bits, off the event loop. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ImageOps, loadImageOps, type PatchJob, PIXEL_LAYOUT } from "../../src/backend/image-ops.js";
import { bicubicFilter } from "../../src/model/qwen2_5_vl/bicubic-filter.js";
import type { DecodedImage } from "../../src/model/qwen2_5_vl/decode-image.js";
import { parseImageProcessorSettings } from "../../src/model/qwen2_5_vl/image-processor.js";
import { imageToPatches } from "../../src/model/qwen2_5_vl/image-to-patches.js";
import { byteValues } from "../../src/model/qwen2_5_vl/patchify.js";

const addon = loadImageOps();
const missing = addon ? "" : " (skipped: native/image_ops.cc is not compiled; run `npx tfjs-rft setup`)";
const settings = parseImageProcessorSettings({}, "test");
const LAYOUTS = Object.keys(PIXEL_LAYOUT) as DecodedImage["layout"][];

/** Pixels that differ from each other and from one seed to the next, extremes among them. */
function noise(height: number, width: number, layout: DecodedImage["layout"], seed: number): DecodedImage {
	const data = new Uint8Array(height * width * (layout === "rgb" ? 3 : 4));
	let state = seed + 1;
	for (let i = 0; i < data.length; i++) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		data[i] = state >>> 30 === 0 ? 0 : state >>> 30 === 1 ? 255 : (state >>> 16) & 255;
	}
	return { data, height, width, layout };
}

const bytes = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

describe.skipIf(!addon)(`the image addon${missing}`, () => {
	const same = async (image: DecodedImage, size: [number, number], options = settings) => {
		const [native, script] = await Promise.all([addon, null].map((ops) => imageToPatches(image, size, options, ops)));
		expect(native.gridThw).toEqual(script.gridThw);
		expect(native.pixelValues.shape).toEqual(script.pixelValues.shape);
		expect(bytes(native.pixelValues.data).equals(bytes(script.pixelValues.data))).toBe(true);
	};

	it("equals JavaScript to the last bit for any size, enlarging and shrinking, in either order of the passes, and any layout", async () => {
		const side = fc.integer({ min: 1, max: 130 });
		const blocks = fc.integer({ min: 1, max: 4 });
		await fc.assert(
			fc.asyncProperty(side, side, blocks, blocks, fc.constantFrom(...LAYOUTS), fc.nat(), (height, width, h, w, layout, seed) =>
				same(noise(height, width, layout, seed), [h * 28, w * 28]),
			),
			{ numRuns: 60, seed: 4 },
		);
	});

	it.each([
		["neither side changes", 56, 84, [56, 84]],
		["only the height does", 200, 84, [56, 84]],
		["only the width does", 56, 301, [56, 84]],
		["vertically first", 900, 90, [56, 84]],
		["an aspect ratio of 200", 2000, 10, [560, 28]],
		["a photograph", 768, 1024, [420, 588]],
	] as const)("equals JavaScript where %s", async (_, height, width, [h, w]) => {
		for (const layout of LAYOUTS) await same(noise(height, width, layout, height), [h, w]);
	});

	it("equals JavaScript with other patches, mean and deviation", async () => {
		const other = { patch_size: 16, temporal_patch_size: 3, merge_size: 1, image_mean: [0.1, 0.2, 0.3], image_std: [0.5, 0.6, 0.7] };
		await same(noise(70, 50, "rgb", 1), [64, 48], parseImageProcessorSettings(other, "test"));
	});

	it("leaves the event loop to others, and runs several images at once", async () => {
		const image = noise(3000, 4000, "rgba", 1);
		let turns = 0;
		const timer = setInterval(() => turns++, 1);
		const results = await Promise.all(Array.from({ length: 4 }, () => imageToPatches(image, [448, 588], settings, addon)));
		clearInterval(timer);
		expect(turns).toBeGreaterThan(5);
		for (const { pixelValues } of results) expect(bytes(pixelValues.data).equals(bytes(results[0].pixelValues.data))).toBe(true);
	});

	it("gives the pixels' memory back only where it is told to", async () => {
		const image = noise(56, 84, "rgb", 1);
		const kept = await imageToPatches(image, [56, 84], settings, addon);
		expect(image.data.byteLength).toBe(56 * 84 * 3);
		const released = await imageToPatches(image, [56, 84], settings, addon, { releasePixels: true });
		expect(image.data.byteLength).toBe(0);
		expect(bytes(released.pixelValues.data).equals(bytes(kept.pixelValues.data))).toBe(true);
	});

	it("has memory of exactly the length that is asked for, each array its own", () => {
		const { floats } = addon as ImageOps;
		const [a, b] = [floats(1000).fill(1), floats(1000).fill(2)];
		expect([a.length, new Set(a), new Set(b)]).toEqual([1000, new Set([1]), new Set([2])]);
		for (const wrong of [0, -1, 2 ** 50, "8", undefined]) expect(() => floats(wrong as number)).toThrow("floats: (length) expected");
	});

	it("refuses a job whose parts don't belong together, instead of reading beyond them", () => {
		const job: PatchJob = {
			...{ pixels: new Uint8Array(60 * 28 * 3), layout: PIXEL_LAYOUT.rgb, height: 60, width: 28 },
			...{ vertical: bicubicFilter(60, 28), horizontal: null, verticalFirst: true, values: byteValues(settings), releasePixels: false },
			...{ patchSize: 14, temporalPatchSize: 2, mergeSize: 2, patches: new Float32Array(4 * 1176) },
		};
		const call = (wrong: object) => () => (addon as ImageOps).imageToPatches({ ...job, ...wrong });
		expect(call({ pixels: new Uint8Array(9) })).toThrow("imageToPatches: pixels is not a typed array of the expected type and length");
		expect(call({ patches: new Float32Array(9) })).toThrow(/patches is not/);
		expect(call({ values: new Float32Array(9) })).toThrow(/values is not/);
		expect(call({ vertical: bicubicFilter(90, 28) })).toThrow(/vertical is not a filter of this image/);
		expect(call({ vertical: { ...job.vertical, weights: new Int32Array(29) } })).toThrow(/vertical is not a filter of this image/);
		expect(call({ vertical: null })).toThrow(/height or width is not a multiple of mergeSize · patchSize/);
		expect(call({ layout: 3 })).toThrow(/layout is not 0, 1 or 2/);
		expect(call({ height: 0 })).toThrow(/height is not a size/);
		expect(call({ height: "60" })).toThrow(/height is not a size/);
		return expect(call({})()).resolves.toBeUndefined();
	});
});

describe("without the addon", () => {
	it("is null where setup has not compiled it", () => {
		expect(loadImageOps({ TFJS_RFT_CACHE: "/nowhere" })).toBeNull();
	});
});
