/** A picture, small, inside the page. */
import sharp from "sharp";

export type Thumbnail = { ok: true; uri: string; width: number; height: number } | { ok: false; reason: string };

/** Pixels of the longer side: sharp on a screen of two dots per pixel where the picture has them. */
const SIDE = 240;
const QUALITY = 72;

/** @returns the picture as a `data:` URI (WebP), or why there is none. */
export async function thumbnail(file: string): Promise<Thumbnail> {
	try {
		const { data, info } = await sharp(file)
			.autoOrient()
			.resize(SIDE, SIDE, { fit: "inside", withoutEnlargement: true })
			.webp({ quality: QUALITY })
			.toBuffer({ resolveWithObject: true });
		return { ok: true, uri: `data:image/webp;base64,${data.toString("base64")}`, width: info.width, height: info.height };
	} catch (error) {
		return { ok: false, reason: error instanceof Error ? error.message : String(error) };
	}
}
