/**
 * An encoded image (JPEG, PNG, WebP, GIF, TIFF, AVIF) to 8-bit RGB, as transformers' load_image and convert_to_rgb see it:
 * EXIF orientation applied, transparency composited on white (Pillow's rounding), grey repeated, the first frame of an animation,
 * 16 bits cut to 8, colour profiles ignored and CMYK inverted naively, as Pillow does. Equal to the last bit on JPEG, PNG, GIF, TIFF
 * and lossless WebP (test/fixtures/image-cases). sharp decodes on libuv's threads, at full size (shrinking on load is part of its resize,
 * which isn't used); composing transparency and CMYK is left to whoever takes the pixels, so that it need not be done on the event loop.
 *
 * The bytes are untrusted: size bounds come before decoding, SVG and other programs-as-images are refused.
 */
import { readFile, stat } from "node:fs/promises";
import sharp, { type Metadata } from "sharp";
import type { PIXEL_LAYOUT } from "../../backend/image-ops.js";
import { ImageError } from "../generative-model.js";
import type { RgbImage } from "./resize-bicubic.js";

/** Pillow's own bound against decompression bombs: a quarter of a GiB of RGB. */
export const MAX_PIXELS = 89_478_485;
/** Far above any image of that many pixels. */
const MAX_FILE_BYTES = 2 ** 28;

const FORMATS = new Set(["jpeg", "png", "webp", "gif", "tiff", "heif", "avif"]);

/** Decoded pixels before transparency is composed on white or CMYK inverted: 3 bytes per pixel for rgb, else 4. */
export interface DecodedImage extends RgbImage {
	layout: keyof typeof PIXEL_LAYOUT;
}

/**
 * @param image a file path, or the bytes of an encoded image
 * @throws ImageError that says what is wrong: missing, not a file, empty, too large, not an image, cut off.
 */
export async function decodeImage(image: string | Buffer): Promise<DecodedImage> {
	const name = typeof image === "string" ? image : `image of ${image.byteLength} bytes`;
	const bytes = typeof image === "string" ? await readImageFile(image) : image;
	if (bytes.byteLength === 0) throw empty(name);
	const metadata = await readMetadata(name, bytes);
	try {
		return await decode(bytes, metadata);
	} catch (cause) {
		throw new ImageError(name, `is damaged or cut off: ${message(cause)}`, { kind: "damaged-image", cause });
	}
}

/**
 * Reads an image file's header and no more.
 * @returns its size as stored, before EXIF orientation
 * @throws ImageError as `decodeImage` does, but for what shows in the pixels only: that it is cut off
 */
export async function readImageSize(file: string): Promise<{ width: number; height: number }> {
	if ((await sizeOfFile(file)) === 0) throw empty(file);
	const { width, height } = await readMetadata(file, file);
	return { width, height };
}

const empty = (name: string) => new ImageError(name, "is empty (0 bytes)", { kind: "empty-image" });

async function readImageFile(path: string): Promise<Buffer> {
	await sizeOfFile(path);
	return readFile(path).catch((cause: unknown) => {
		throw unreadable(path, cause);
	});
}

async function sizeOfFile(path: string): Promise<number> {
	const found = await stat(path).catch((cause: unknown) => {
		throw unreadable(path, cause);
	});
	if (!found.isFile()) throw new ImageError(path, "is not a file", { kind: "not-a-file" });
	if (found.size <= MAX_FILE_BYTES) return found.size;
	throw new ImageError(path, `is too large: ${found.size} bytes, expected at most ${MAX_FILE_BYTES}`, { kind: "oversized-image" });
}

function unreadable(path: string, cause: unknown): ImageError {
	const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
	if (missing) return new ImageError(path, "is missing: no such file", { kind: "missing-image", cause });
	return new ImageError(path, `can't be read: ${message(cause)}`, { cause });
}

/** From the header alone: nothing is decoded yet. @throws ImageError for another format, or one that is too large to decode */
async function readMetadata(name: string, image: string | Buffer): Promise<Metadata> {
	const metadata = await sharp(image, { limitInputPixels: false })
		.metadata()
		.catch((cause: unknown) => {
			const reason = `is not an image that can be read (expected JPEG, PNG, WebP, GIF, TIFF or AVIF): ${message(cause)}`;
			throw new ImageError(name, reason, { kind: "not-an-image", cause });
		});
	const { format, width, height } = metadata;
	if (!FORMATS.has(format)) {
		const reason = `is ${format}, expected JPEG, PNG, WebP, GIF, TIFF or AVIF; convert it first`;
		throw new ImageError(name, reason, { kind: "unsupported-image" });
	}
	if (width * height <= MAX_PIXELS) return metadata;
	const reason = `is too large: ${width}×${height} = ${width * height} pixels, expected at most ${MAX_PIXELS}; scale it down first`;
	throw new ImageError(name, reason, { kind: "oversized-image" });
}

async function decode(bytes: Buffer, { space, hasAlpha }: Metadata): Promise<DecodedImage> {
	const isCmyk = space === "cmyk";
	const pipeline = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "error", ignoreIcc: true, sequentialRead: true }).autoOrient();
	const { data, info } = await (isCmyk ? pipeline.pipelineColourspace("cmyk").toColourspace("cmyk") : pipeline.toColourspace("srgb"))
		.raw({ depth: "uchar" })
		.toBuffer({ resolveWithObject: true });
	const { width, height, channels } = info;
	const expected = isCmyk || hasAlpha ? 4 : 3;
	if (channels !== expected) throw new Error(`decoded to ${channels} channels, expected ${expected}`);
	return { data, height, width, layout: isCmyk ? "cmyk" : hasAlpha ? "rgba" : "rgb" };
}

/** The image as people see it, in three channels. On the event loop; image_ops.cc does the same off it. */
export function toRgb({ data, height, width, layout }: DecodedImage): RgbImage {
	if (layout === "rgb") return { data, height, width };
	return { data: layout === "cmyk" ? fromCmyk(data) : onWhite(data), height, width };
}

/** CMYK to RGB without a profile: Pillow's cmyk2rgb. */
function fromCmyk(cmyk: Uint8Array): Uint8Array {
	const rgb = new Uint8Array((cmyk.length / 4) * 3);
	for (let from = 0, to = 0; from < cmyk.length; from += 4) {
		const white = 255 - cmyk[from + 3];
		for (let c = 0; c < 3; c++) {
			const product = cmyk[from + c] * white + 128;
			rgb[to++] = white - (((product >> 8) + product) >> 8);
		}
	}
	return rgb;
}

/** RGBA to RGB on white: Pillow's alpha_composite on an opaque background. */
function onWhite(rgba: Uint8Array): Uint8Array {
	const rgb = new Uint8Array((rgba.length / 4) * 3);
	for (let from = 0, to = 0; from < rgba.length; from += 4) {
		const alpha = rgba[from + 3];
		for (let c = 0; c < 3; c++) {
			const sum = (rgba[from + c] * alpha + 255 * (255 - alpha)) * 128 + (0x80 << 7);
			rgb[to++] = (((sum >> 8) + sum) >> 8) >> 7;
		}
	}
	return rgb;
}

/** libvips says the same thing on several lines; the first is enough. */
function message(cause: unknown): string {
	return (cause instanceof Error ? cause.message : String(cause)).split("\n")[0];
}
