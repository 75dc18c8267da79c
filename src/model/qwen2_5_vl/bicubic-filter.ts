/**
 * The weights of Pillow's bicubic resampler for one side of an image: the cubic kernel with a = −0.5, widened by the scale when shrinking,
 * normalised, in 22-bit fixed point. Sums of bytes times these weights fit into 32 bits.
 * Follows Pillow `src/libImaging/Resample.c`: precompute_coeffs, normalize_coeffs_8bpc.
 */
import type { ResamplingFilter } from "../../backend/image-ops.js";

/** Fixed point of the weights; native/image_ops.cc has the same. */
export const PRECISION_BITS = 22;
/** Reach of the kernel, in pixels of the coarser image. */
const SUPPORT = 2;

/** The weights that scale a side of `inSize` pixels to `outSize`. */
export function bicubicFilter(inSize: number, outSize: number): ResamplingFilter {
	const scale = inSize / outSize;
	const stretch = Math.max(scale, 1);
	const support = SUPPORT * stretch;
	const taps = Math.ceil(support) * 2 + 1;
	const first = new Int32Array(outSize);
	const weights = new Int32Array(outSize * taps);
	const raw = new Float64Array(taps);
	for (let i = 0; i < outSize; i++) {
		const center = (i + 0.5) * scale;
		const from = Math.max(0, Math.trunc(center - support + 0.5));
		const count = Math.min(inSize, Math.trunc(center + support + 0.5)) - from;
		let total = 0;
		for (let k = 0; k < count; k++) {
			raw[k] = bicubic((k + from - center + 0.5) / stretch);
			total += raw[k];
		}
		first[i] = from;
		for (let k = 0; k < count; k++) weights[i * taps + k] = fixedPoint(raw[k] / total);
	}
	return { first, weights, taps };
}

function fixedPoint(weight: number): number {
	return Math.trunc(weight * (1 << PRECISION_BITS) + (weight < 0 ? -0.5 : 0.5));
}

/** The cubic convolution kernel with a = −0.5. */
function bicubic(distance: number): number {
	const a = -0.5;
	const x = Math.abs(distance);
	if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
	if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
	return 0;
}
