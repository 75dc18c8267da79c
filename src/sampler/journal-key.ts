/** The name of a rollout by all that its text depends on, so that a journal's line can stand for drawing it again. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { contentHash } from "../dataset/content-hash.js";
import { type PreferenceRecord, shownImages } from "../dataset/preference-record.js";
import { ImageError } from "../model/generative-model.js";

/**
 * 32 hex digits of the SHA-256 over the configuration, the record's content, the bytes of its images as shown, the shown order and the
 * sample's number.
 * @param configuration `configurationDigest`
 * @param images digests of the images in the shown order
 */
export function rolloutKey(
	configuration: string,
	{ key, prompt, preferred, order }: PreferenceRecord,
	images: readonly [string, string],
	sampleIndex: number,
): string {
	return contentHash("rollout-key", configuration, key, prompt, preferred, order, ...images, sampleIndex)
		.toString("hex")
		.slice(0, 32);
}

/** Images whose digests are remembered: both orders of a pair, and pairs that share an image, stand near each other. */
const REMEMBERED = 64;

/** Keys of a record's samples. */
export function keyMaker(configuration: string): (record: PreferenceRecord, samples: number) => Promise<string[]> {
	const digests = new Map<string, Promise<string>>();
	const digest = (image: string) => {
		const known = digests.get(image) ?? fileDigest(image);
		digests.delete(image);
		digests.set(image, known);
		if (digests.size > REMEMBERED) digests.delete(digests.keys().next().value as string);
		return known;
	};
	return async (record, samples) => {
		const [first, second] = shownImages(record);
		const images = [await digest(first), await digest(second)] as const;
		return Array.from({ length: samples }, (_, sample) => rolloutKey(configuration, record, images, sample));
	};
}

/** @throws ImageError for a file that can't be read */
async function fileDigest(file: string): Promise<string> {
	const hash = createHash("sha256");
	try {
		for await (const block of createReadStream(file)) hash.update(block as Buffer);
	} catch (cause) {
		throw new ImageError(file, cause instanceof Error ? cause.message : String(cause), { cause });
	}
	return hash.digest("hex");
}
