/**
 * Pixels to the rows that the vision tower's patch embedding reads.
 *
 * Legend: P patches, C channels, t temporal patch, p patch side, m merge side; H, W pixels, multiples of m·p.
 * Rows are merge-block-major: all m × m patches of one block, then the next block in raster order. For 4 × 6 patches and m = 2:
 *   row  0: (0,0)  1: (0,1)  2: (1,0)  3: (1,1)   the first block
 *   row  4: (0,2)  5: (0,3)  6: (1,2)  7: (1,3)   the block to its right …
 * Features go C, t, p, p; a still image's frame stands t times.
 * Follows transformers `models/qwen2_vl/image_processing_pil_qwen2_vl.py` patchify; the float32 steps are those of its rescale and
 * normalize, so that the values are bit-equal.
 */
import type { Matrix } from "../generative-model.js";
import type { RgbImage } from "./resize-bicubic.js";

export interface PatchifyOptions {
	patchSize: number;
	temporalPatchSize: number;
	mergeSize: number;
	/** Multiplies a byte; 1/255. */
	rescaleFactor: number;
	/** Per channel, after rescaling. */
	imageMean: readonly number[];
	imageStd: readonly number[];
}

/** Patches of one image; `gridThw` is frames, rows and columns of patches. */
export interface ImagePatches {
	pixelValues: Matrix<Float32Array>;
	gridThw: [number, number, number];
}

/**
 * @param image sides multiples of mergeSize · patchSize
 * @returns pixelValues [P, C·t·p·p], P = (H / p)·(W / p)
 * @throws RangeError for other sides.
 */
export function pixelsToPatches({ data, height, width }: RgbImage, options: PatchifyOptions): ImagePatches {
	const { patchSize: p, temporalPatchSize: t, mergeSize: m } = options;
	const patches = emptyPatches(height, width, options);
	const [, rows, columns] = patches.gridThw;
	const values = patches.pixelValues.data;
	const features = patches.pixelValues.shape[1];
	const normalized = byteValues(options);
	let at = 0;
	for (let block = 0; block < (rows / m) * (columns / m); block++) {
		const top = Math.floor(block / (columns / m)) * m;
		const left = (block % (columns / m)) * m;
		for (let inner = 0; inner < m * m; inner++, at += features) {
			const y = (top + Math.floor(inner / m)) * p;
			const x = (left + (inner % m)) * p;
			fillPatch(values.subarray(at, at + features), data, (y * width + x) * 3, width * 3, p, t, normalized);
		}
	}
	return patches;
}

/**
 * Patches of an image of this size, to be filled.
 *
 * @param floats makes their memory; default zeros
 * @throws RangeError for sides that are no multiples of mergeSize · patchSize
 */
export function emptyPatches(
	height: number,
	width: number,
	options: PatchifyOptions,
	floats: (length: number) => Float32Array = (length) => new Float32Array(length),
): ImagePatches {
	const { patchSize: p, temporalPatchSize: t, mergeSize: m } = options;
	if (height % (m * p) !== 0 || width % (m * p) !== 0) {
		throw new RangeError(`patchify: ${height}×${width} pixels, expected multiples of ${m * p}; resize the image with smartResize first`);
	}
	const [rows, columns] = [height / p, width / p];
	const shape: [number, number] = [rows * columns, 3 * t * p * p];
	return { pixelValues: { data: floats(shape[0] * shape[1]), shape }, gridThw: [1, rows, columns] };
}

/** One row of the result: C, t, p, p, from the patch whose first byte is at `origin`. */
function fillPatch(
	out: Float32Array,
	data: Uint8Array,
	origin: number,
	stride: number,
	p: number,
	t: number,
	normalized: Float32Array,
): void {
	const frame = p * p;
	for (let c = 0; c < 3; c++) {
		const table = normalized.subarray(c * 256, (c + 1) * 256);
		const start = c * t * frame;
		for (let y = 0, to = start; y < p; y++) {
			for (let x = 0, from = origin + y * stride + c; x < p; x++, from += 3) out[to++] = table[data[from]];
		}
		for (let copy = 1; copy < t; copy++) out.copyWithin(start + copy * frame, start, start + frame);
	}
}

/** The pixel value of each byte: red's 256, green's, blue's. */
export function byteValues({ rescaleFactor, imageMean, imageStd }: PatchifyOptions): Float32Array {
	return Float32Array.from({ length: 3 * 256 }, (_, i) => {
		const [c, byte] = [i >> 8, i & 255];
		return Math.fround(Math.fround(byte * rescaleFactor) - Math.fround(imageMean[c])) / Math.fround(imageStd[c]);
	});
}
