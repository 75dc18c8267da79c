/** A picture for a log: small, and in a format that TensorBoard shows. */
import sharp from "sharp";

/** Pixels of the longer side. */
const SIDE = 256;
const QUALITY = 80;

/** A JPEG file, or why there is none. */
export type LogPicture = { file: Uint8Array; width: number; height: number } | { reason: string };

/** @param image path */
export async function logPicture(image: string): Promise<LogPicture> {
	try {
		const { data, info } = await sharp(image)
			.autoOrient()
			.resize(SIDE, SIDE, { fit: "inside", withoutEnlargement: true })
			.flatten({ background: "white" })
			.jpeg({ quality: QUALITY })
			.toBuffer({ resolveWithObject: true });
		return { file: data, width: info.width, height: info.height };
	} catch (error) {
		return { reason: `${image}: ${error instanceof Error ? error.message : String(error)}` };
	}
}
