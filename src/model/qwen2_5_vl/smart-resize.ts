/**
 * The size to which Qwen's vision tower wants an image scaled: both sides multiples of a factor, the area inside bounds, the aspect
 * ratio nearly kept. Rounds half to even as Python does (70 / 28 = 2.5 → 2 → 56), and at extreme aspect ratios may exceed
 * `maxPixels`, as the reference does.
 * Follows transformers `models/qwen2_vl/image_processing_qwen2_vl.py` smart_resize.
 */

/** The reference refuses images more elongated than this. */
const MAX_ASPECT_RATIO = 200;

export interface SmartResizeOptions {
	/** Both sides become multiples of it: patch size × merge size. */
	factor: number;
	/** Least area in pixels. */
	minPixels: number;
	/** Most area in pixels. */
	maxPixels: number;
}

/**
 * @example smartResize(300, 451, { factor: 28, minPixels: 3136, maxPixels: 12845056 }) // [308, 448]
 * @returns [height, width]
 * @throws RangeError for an aspect ratio above 200.
 */
export function smartResize(height: number, width: number, { factor, minPixels, maxPixels }: SmartResizeOptions): [number, number] {
	const tooLong = elongation(height, width);
	if (tooLong !== undefined) throw new RangeError(tooLong);
	const h = roundHalfToEven(height / factor) * factor;
	const w = roundHalfToEven(width / factor) * factor;
	if (h * w > maxPixels) {
		const beta = Math.sqrt((height * width) / maxPixels);
		const down = (side: number) => Math.max(factor, Math.floor(side / beta / factor) * factor);
		return [down(height), down(width)];
	}
	if (h * w < minPixels) {
		const beta = Math.sqrt(minPixels / (height * width));
		const up = (side: number) => Math.ceil((side * beta) / factor) * factor;
		return [up(height), up(width)];
	}
	return [h, w];
}

/** @returns what is wrong with an image of this size, whatever it is scaled to; undefined for one that can be read */
export function elongation(height: number, width: number): string | undefined {
	const ratio = Math.max(height, width) / Math.min(height, width);
	if (ratio <= MAX_ASPECT_RATIO) return undefined;
	return `${width}×${height} pixels: the longer side is ${ratio} times the shorter, expected at most ${MAX_ASPECT_RATIO}; crop it`;
}

function roundHalfToEven(x: number): number {
	const floor = Math.floor(x);
	if (x - floor !== 0.5) return Math.round(x);
	return floor % 2 === 0 ? floor : floor + 1;
}
