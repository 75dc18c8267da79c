/**
 * Images for a chat endpoint. A conversation keeps the path; the bytes are read when the request is sent, so that only the requests under way
 * are in memory.
 *
 * Plain 8-bit JPEG, PNG and WebP are sent as they are. What servers read differently, or not at all (EXIF orientation, transparency, CMYK, 16
 * bits, animations, TIFF, AVIF, GIF), is sent as PNG as the local processor sees it: upright, on white, in RGB, the first frame.
 */
import { readFile } from "node:fs/promises";
import sharp, { type Metadata } from "sharp";
import { ImageError } from "../generative-model.js";
import { decodeImage, toRgb } from "../qwen2_5_vl/decode-image.js";

const SENT_AS_IS = new Set(["jpeg", "png", "webp"]);

/** Decodes it once, as the local processor does. @throws ImageError for an image that can't be read */
export async function checkImage(image: string | Buffer): Promise<void> {
	await decodeImage(image);
}

/** @throws ImageError for an image that could be read when it was checked and can't be now */
export async function imageDataUrl(image: string | Buffer): Promise<string> {
	try {
		const bytes = typeof image === "string" ? await readFile(image) : image;
		const metadata = await sharp(bytes, { limitInputPixels: false }).metadata();
		if (isPlain(metadata)) return dataUrl(metadata.format, bytes);
		const { data, width, height } = toRgb(await decodeImage(bytes));
		return dataUrl(
			"png",
			await sharp(data, { raw: { width, height, channels: 3 } })
				.png()
				.toBuffer(),
		);
	} catch (cause) {
		const name = typeof image === "string" ? image : `image of ${image.byteLength} bytes`;
		throw new ImageError(
			name,
			`can't be sent, it changed after it was checked: ${cause instanceof Error ? cause.message : String(cause)}`,
			{
				cause,
			},
		);
	}
}

function isPlain({ format, space, depth, hasAlpha, orientation = 1, pages = 1 }: Metadata): boolean {
	return (
		SENT_AS_IS.has(format) && (space === "srgb" || space === "b-w") && depth === "uchar" && !hasAlpha && orientation === 1 && pages === 1
	);
}

function dataUrl(format: string, bytes: Buffer): string {
	return `data:image/${format};base64,${bytes.toString("base64")}`;
}
