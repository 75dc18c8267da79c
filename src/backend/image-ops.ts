/**
 * Our second addon, `native/image_ops.cc`: decoded pixels to a vision tower's patches on libuv's threads. It is independent of TensorFlow
 * and of the backend that is current. It knows no checkpoint: whoever calls it brings the resampling filters and each byte's pixel value.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { cacheFolder } from "./setup/cache-folder.js";
import { imageOpsFile } from "./setup/compile-image-ops.js";

/** What a pixel's bytes are; the numbers are image_ops.cc's. RGBA is composed on white, CMYK inverted naively, both as Pillow does. */
export const PIXEL_LAYOUT = { rgb: 0, rgba: 1, cmyk: 2 } as const;

/** A pass of a separable resampler in 22-bit fixed point; output i is the sum of `weights[i · taps + k]` × input `first[i] + k`. */
export interface ResamplingFilter {
	/** One per output. */
	first: Int32Array;
	/** `taps` per output, zeros at the end. */
	weights: Int32Array;
	taps: number;
}

/** One image. The arrays must not change until the call has ended. */
export interface PatchJob {
	/** Rows top to bottom, channels interleaved: 3 bytes per pixel for rgb, else 4. */
	pixels: Uint8Array;
	/** Whether the memory of `pixels`, its whole ArrayBuffer, is given back (detached) when the call has ended. */
	releasePixels: boolean;
	layout: (typeof PIXEL_LAYOUT)[keyof typeof PIXEL_LAYOUT];
	height: number;
	width: number;
	/** Null: the size stays. */
	vertical: ResamplingFilter | null;
	/** Null: the size stays. */
	horizontal: ResamplingFilter | null;
	/** Which pass comes first; between them the image is rounded to bytes. */
	verticalFirst: boolean;
	/** The pixel value of each byte: red's 256, green's, blue's. */
	values: Float32Array;
	patchSize: number;
	temporalPatchSize: number;
	mergeSize: number;
	/** Filled: `[P, C·t·p·p]` in merge-block order. */
	patches: Float32Array;
}

export interface ImageOps {
	/** Resamples an image and cuts it into `job.patches`. @throws TypeError for arrays and sizes that don't belong together */
	imageToPatches(job: PatchJob): Promise<void>;
	/** For `job.patches`: not cleared, of memory that is used again once the array has been collected. @throws TypeError for a length below 1 */
	floats(length: number): Float32Array;
}

/**
 * The addon that setup compiled, or null where it has not: JavaScript does the same then.
 * @throws Error when there is one that can't be loaded.
 */
export function loadImageOps(env: NodeJS.ProcessEnv = process.env): ImageOps | null {
	const file = imageOpsFile(cacheFolder(env));
	if (!existsSync(file)) return null;
	try {
		return createRequire(import.meta.url)(file) as ImageOps;
	} catch (cause) {
		throw new Error(`${file} does not load: ${(cause as Error).message}; remove it and run \`npx tfjs-rft setup\``, { cause });
	}
}
