/**
 * Decoded pixels to the patches of an image scaled to a given size: by the addon native/image_ops.cc on a thread of its own where setup has
 * compiled it, else in JavaScript, with turns of the event loop in between. Both give the same bits (test/model/image-to-patches.test.ts).
 */
import { type ImageOps, PIXEL_LAYOUT } from "../../backend/image-ops.js";
import { bicubicFilter } from "./bicubic-filter.js";
import { type DecodedImage, toRgb } from "./decode-image.js";
import { byteValues, emptyPatches, type ImagePatches, type PatchifyOptions, pixelsToPatches } from "./patchify.js";
import { isVerticalFirst, resizeBicubic } from "./resize-bicubic.js";

/**
 * @param size height and width to scale to, multiples of mergeSize · patchSize
 * @param addon null: in JavaScript
 * @param releasePixels whether the image's memory may be given back at the end: nobody else uses it
 * @throws RangeError for another size.
 */
export async function imageToPatches(
	image: DecodedImage,
	[height, width]: readonly [number, number],
	options: PatchifyOptions,
	addon: ImageOps | null,
	{ releasePixels = false }: { releasePixels?: boolean } = {},
): Promise<ImagePatches> {
	if (!addon) return pixelsToPatches(await resizeBicubic(toRgb(image), height, width), options);
	const patches = emptyPatches(height, width, options, addon.floats);
	await addon.imageToPatches({
		pixels: image.data,
		releasePixels,
		layout: PIXEL_LAYOUT[image.layout],
		height: image.height,
		width: image.width,
		vertical: height === image.height ? null : bicubicFilter(image.height, height),
		horizontal: width === image.width ? null : bicubicFilter(image.width, width),
		verticalFirst: isVerticalFirst(image, height, width),
		values: byteValues(options),
		patchSize: options.patchSize,
		temporalPatchSize: options.temporalPatchSize,
		mergeSize: options.mergeSize,
		patches: patches.pixelValues.data,
	});
	return patches;
}
