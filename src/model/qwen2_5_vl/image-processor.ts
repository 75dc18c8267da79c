/**
 * Qwen2-VL's image processor: decode, scale to a multiple of the merge block, normalise, cut into patches.
 * Pixel values are bit-equal to transformers' Pillow backend for the same decoded pixels; the torchvision backend differs from that by
 * up to 4 of 255 in up to 11.6 % of bytes.
 * Settings come from `preprocessor_config.json`, or from `processor_config.json` (`image_processor`), where transformers 5 writes them.
 * Follows transformers `models/qwen2_vl/image_processing_pil_qwen2_vl.py`.
 */
import { z } from "zod";
import { type ImageOps, loadImageOps } from "../../backend/image-ops.js";
import { ImageError } from "../generative-model.js";
import { type DecodedImage, decodeImage } from "./decode-image.js";
import { imageToPatches } from "./image-to-patches.js";
import { limitConcurrency } from "./limit-concurrency.js";
import type { ImagePatches, PatchifyOptions } from "./patchify.js";
import { smartResize } from "./smart-resize.js";

/** OpenAI CLIP's, transformers' defaults for this processor. */
const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];

const side = z.number().int().positive();
const perChannel = z.array(z.number()).length(3);
/** A step that this port always does: a checkpoint that switches it off is refused rather than served wrongly. */
const alwaysOn = z.literal(true).nullish();

const settingsSchema = z.object({
	patch_size: side.default(14),
	temporal_patch_size: side.default(2),
	merge_size: side.default(2),
	min_pixels: side.nullish(),
	max_pixels: side.nullish(),
	size: z
		.object({ shortest_edge: side.nullish(), longest_edge: side.nullish(), min_pixels: side.nullish(), max_pixels: side.nullish() })
		.nullish(),
	image_mean: perChannel.default(CLIP_MEAN),
	image_std: perChannel.default(CLIP_STD),
	rescale_factor: z
		.number()
		.positive()
		.default(1 / 255),
	resample: z.literal(3, "expected 3 (bicubic)").nullish(),
	do_resize: alwaysOn,
	do_rescale: alwaysOn,
	do_normalize: alwaysOn,
	do_convert_rgb: alwaysOn,
});

export interface ImageProcessorSettings extends PatchifyOptions {
	/** Least area in pixels that an image is scaled to. */
	minPixels: number;
	/** Most area in pixels that an image is scaled to. */
	maxPixels: number;
}

/**
 * @param json the parsed preprocessor_config.json
 * @param file names it in errors
 * @throws Error that lists every field that is wrong.
 */
export function parseImageProcessorSettings(json: unknown, file: string): ImageProcessorSettings {
	const parsed = settingsSchema.safeParse(json);
	if (!parsed.success) throw new Error(`${file}: ${z.prettifyError(parsed.error)}`);
	const s = parsed.data;
	return {
		patchSize: s.patch_size,
		temporalPatchSize: s.temporal_patch_size,
		mergeSize: s.merge_size,
		minPixels: s.min_pixels ?? s.size?.shortest_edge ?? s.size?.min_pixels ?? 56 * 56,
		maxPixels: s.max_pixels ?? s.size?.longest_edge ?? s.size?.max_pixels ?? 28 * 28 * 1280,
		imageMean: s.image_mean,
		imageStd: s.image_std,
		rescaleFactor: s.rescale_factor,
	};
}

/**
 * Images that are read, decoded and resized at a time, of one processor: all but two of libuv's threads, which are left for
 * the model's passes, and for the files and name look-ups of whoever embeds this. It also bounds memory: a decoded photograph of 12 megapixels is 36 MB.
 * In JavaScript two: one is decoded while the other is resized, and few share a turn of the event loop.
 */
const IMAGES_AT_ONCE = Math.max(1, (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 2);

/** Turns image files into patches. */
export class ImageProcessor {
	private readonly inTurn: ReturnType<typeof limitConcurrency>;

	/** @param addon what resizes off the event loop; null for JavaScript. Default: the one that setup compiled, if it did */
	constructor(
		readonly settings: ImageProcessorSettings,
		readonly addon: ImageOps | null = loadImageOps(),
	) {
		const { minPixels, maxPixels } = settings;
		if (minPixels > maxPixels) throw new RangeError(`image processor: minPixels ${minPixels} is above maxPixels ${maxPixels}`);
		this.inTurn = limitConcurrency(addon ? IMAGES_AT_ONCE : 2);
	}

	/**
	 * @param image a file path, or the bytes of an encoded image
	 * @throws ImageError for an image that can't be read or is too elongated.
	 */
	preprocess(image: string | Buffer): Promise<ImagePatches> {
		return this.inTurn(async () => {
			const decoded = await decodeImage(image);
			try {
				return await this.fromPixels(decoded, { releasePixels: true });
			} catch (cause) {
				if (!(cause instanceof RangeError)) throw cause;
				throw new ImageError(typeof image === "string" ? image : `image of ${image.byteLength} bytes`, cause.message, {
					kind: "elongated-image",
					cause,
				});
			}
		});
	}

	/** As `preprocess`, from pixels that are decoded already. @throws RangeError for an aspect ratio above 200. */
	async fromPixels(image: DecodedImage, options?: { releasePixels?: boolean }): Promise<ImagePatches> {
		const { patchSize, mergeSize, minPixels, maxPixels } = this.settings;
		const size = smartResize(image.height, image.width, { factor: patchSize * mergeSize, minPixels, maxPixels });
		return imageToPatches(image, size, this.settings, this.addon, options);
	}

	/** How many placeholder tokens an image of this grid fills. */
	tokenCount([t, h, w]: readonly [number, number, number]): number {
		return (t * h * w) / this.settings.mergeSize ** 2;
	}
}
