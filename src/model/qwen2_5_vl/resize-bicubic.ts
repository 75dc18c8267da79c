/**
 * Pillow's bicubic resampler, bit for bit. sharp's differs from it by up to 22 of 255 when shrinking to the sizes of a vision tower and
 * by up to 31 when enlarging (measured on the reference images: it shrinks by whole factors with a box first, and enlarges with
 * another grid), which moves pixel values by up to half a standard deviation; hence this one. It is what runs where the addon
 * native/image_ops.cc has not been compiled, and what that is tested against.
 *
 * Two passes of bicubic-filter.ts's weights, rounded to 8 bits after each. The order of the passes shows in the last bit: Pillow 13 goes
 * vertically first iff H − h > 0 and H − h > 2 (W − w), else horizontally.
 * Follows Pillow `src/libImaging/Resample.c`: ImagingResampleInner.
 */
import { setImmediate } from "node:timers/promises";
import { bicubicFilter, PRECISION_BITS } from "./bicubic-filter.js";

/** An 8-bit RGB image, rows top to bottom, channels interleaved: data[(y · width + x) · 3 + c]. */
export interface RgbImage {
	data: Uint8Array;
	height: number;
	width: number;
}

const CHANNELS = 3;
/** Milliseconds between two turns of the event loop. */
const TURN_MS = 4;

/** Whether Pillow scales vertically first. */
export function isVerticalFirst(from: Pick<RgbImage, "height" | "width">, height: number, width: number): boolean {
	const dh = from.height - height;
	return dh > 0 && dh > 2 * (from.width - width);
}

/** Scales an image. The event loop gets a turn about every 4 ms. */
export async function resizeBicubic(image: RgbImage, height: number, width: number): Promise<RgbImage> {
	if (isVerticalFirst(image, height, width)) return horizontally(await vertically(image, height), width);
	return vertically(await horizontally(image, width), height);
}

async function horizontally(image: RgbImage, width: number): Promise<RgbImage> {
	if (width === image.width) return image;
	const { first, weights, taps } = bicubicFilter(image.width, width);
	const out = new Uint8Array(image.height * width * CHANNELS);
	await overRows(image.height, (y) => {
		const row = image.data.subarray(y * image.width * CHANNELS, (y + 1) * image.width * CHANNELS);
		let to = y * width * CHANNELS;
		for (let x = 0; x < width; x++) {
			const from = first[x];
			const end = Math.min(taps, image.width - from);
			let [r, g, b] = [1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)];
			for (let k = 0, at = from * CHANNELS, w = x * taps; k < end; k++, at += CHANNELS, w++) {
				const weight = weights[w];
				r += row[at] * weight;
				g += row[at + 1] * weight;
				b += row[at + 2] * weight;
			}
			out[to++] = clip(r);
			out[to++] = clip(g);
			out[to++] = clip(b);
		}
	});
	return { data: out, height: image.height, width };
}

async function vertically(image: RgbImage, height: number): Promise<RgbImage> {
	if (height === image.height) return image;
	const { first, weights, taps } = bicubicFilter(image.height, height);
	const stride = image.width * CHANNELS;
	const out = new Uint8Array(height * stride);
	const sums = new Int32Array(stride);
	await overRows(height, (y) => {
		sums.fill(1 << (PRECISION_BITS - 1));
		const end = Math.min(taps, image.height - first[y]);
		for (let k = 0; k < end; k++) {
			const weight = weights[y * taps + k];
			if (weight === 0) continue;
			const from = (first[y] + k) * stride;
			for (let i = 0; i < stride; i++) sums[i] += image.data[from + i] * weight;
		}
		for (let i = 0; i < stride; i++) out[y * stride + i] = clip(sums[i]);
	});
	return { data: out, height, width: image.width };
}

async function overRows(rows: number, row: (y: number) => void): Promise<void> {
	let turnEnds = performance.now() + TURN_MS;
	for (let y = 0; y < rows; y++) {
		row(y);
		if (performance.now() < turnEnds) continue;
		await setImmediate();
		turnEnds = performance.now() + TURN_MS;
	}
}

function clip(sum: number): number {
	const value = sum >> PRECISION_BITS;
	return value < 0 ? 0 : Math.min(value, 255);
}
