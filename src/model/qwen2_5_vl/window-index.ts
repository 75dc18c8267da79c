/**
 * The order in which the vision tower sees its patches. Most of its blocks attend within windows, so patches are reordered once
 * to make windows contiguous. The unit moved is a merged one (2 × 2 patches, which the processor keeps adjacent).
 *
 * A 3 × 3 image of merged units with windows of 2 × 2 units: raster 0…8 becomes [0 1 3 4 | 2 5 | 6 7 | 8].
 *
 * The reference pads a side that is already a multiple of the window by a whole window; those windows are empty and fall
 * out of its boundaries, so here they are never made. Source: transformers vision_utils.py, get_vision_window_index.
 */
type Grid = readonly number[];

export interface WindowIndex {
	/** [P / unit] raster number of the merged unit at each place of window order. */
	windowIndex: Int32Array;
	/** Cumulative boundaries of the windows, in patches. */
	cuWindowSeqlens: number[];
}

/** @param grids [t, h, w] in patches, per image */
export function windowIndex(
	grids: readonly Grid[],
	{ spatialMergeSize, windowSize, patchSize }: { spatialMergeSize: number; windowSize: number; patchSize: number },
): WindowIndex {
	const side = Math.floor(windowSize / spatialMergeSize / patchSize);
	const unit = spatialMergeSize ** 2;
	const index: number[] = [];
	const cuWindowSeqlens = [0];
	let first = 0;
	for (const [t, gridH, gridW] of grids) {
		const [h, w] = [gridH / spatialMergeSize, gridW / spatialMergeSize];
		for (let frame = 0; frame < t; frame++) {
			for (let top = 0; top < h; top += side) {
				for (let left = 0; left < w; left += side) {
					for (let y = top; y < Math.min(top + side, h); y++) {
						for (let x = left; x < Math.min(left + side, w); x++) index.push(first + (frame * h + y) * w + x);
					}
					cuWindowSeqlens.push(index.length * unit);
				}
			}
		}
		first += t * h * w;
	}
	return { windowIndex: Int32Array.from(index), cuWindowSeqlens };
}

/** Cumulative boundaries of the frames, in patches: what the full-attention blocks attend within. */
export function frameSeqlens(grids: readonly Grid[]): number[] {
	const boundaries = [0];
	for (const [t, h, w] of grids) for (let frame = 0; frame < t; frame++) boundaries.push(boundaries[boundaries.length - 1] + h * w);
	return boundaries;
}

/** Row and column of each patch, in the processor's merge-block-major raster order: [P, 2]. */
export function patchPositions(grids: readonly Grid[], spatialMergeSize: number): Int32Array {
	const m = spatialMergeSize;
	const positions: number[] = [];
	for (const [t, h, w] of grids) {
		for (let frame = 0; frame < t; frame++) {
			for (let y = 0; y < h; y += m) {
				for (let x = 0; x < w; x += m) {
					for (let dy = 0; dy < m; dy++) for (let dx = 0; dx < m; dx++) positions.push(y + dy, x + dx);
				}
			}
		}
	}
	return Int32Array.from(positions);
}

/** Expands an order of merged units to rows of `width` numbers each, and reorders them. */
export function reorderUnits<A extends Float32Array | Int32Array>(data: A, order: Int32Array, width: number): A {
	const out = data.slice() as A;
	order.forEach((from, to) => {
		out.set(data.subarray(from * width, (from + 1) * width), to * width);
	});
	return out;
}
