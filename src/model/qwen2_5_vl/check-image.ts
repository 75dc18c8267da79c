/** Whether the judge will be able to read an image, before any judgement is asked for: a check for `loadDataset`. */
import { ImageError } from "../generative-model.js";
import { decodeImage, readImageSize } from "./decode-image.js";
import { elongation } from "./smart-resize.js";

export interface CheckImageOptions {
	/** Decode the whole picture, so that one that is cut off shows; some ten milliseconds for a megapixel. Default false: the header alone. */
	decode?: boolean;
}

/** @returns what is wrong with the image, or undefined. */
export async function checkImage(file: string, { decode = false }: CheckImageOptions = {}): Promise<ImageError | undefined> {
	try {
		const { height, width } = await (decode ? decodeImage(file) : readImageSize(file));
		const tooLong = elongation(height, width);
		return tooLong === undefined ? undefined : new ImageError(file, `has ${tooLong}`, { kind: "elongated-image" });
	} catch (error) {
		if (error instanceof ImageError) return error;
		throw error;
	}
}
