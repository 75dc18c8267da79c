/** A filter that leaves out records that show what an earlier record has shown. About the record. */
import type { PreferenceRecord } from "../../dataset/preference-record.js";
import { type RolloutFilter, wholeRecord } from "../rollout-filter.js";
import { type ImageHash, ImageHashIndex, imageHash } from "./image-hash.js";

export interface NearDuplicateImagesOptions {
	/** Most bits, of 64, in which the hashes of two pictures of one kind differ; 0 to 15. Default 2. */
	maxDistance?: number;
	/** Whether both images, in either order, must be like those of one earlier record, or any one like any earlier image. Default `both`. */
	match?: "both" | "any";
}

/**
 * Keeps the first of records with near-duplicate images, whatever its judgements come to. Holds hashes and index entries of the kept
 * ones: about 1 kB a record. An image that can't be read turns its record away.
 * @throws RangeError for a `maxDistance` out of range.
 */
export function nearDuplicateImages({ maxDistance = 2, match = "both" }: NearDuplicateImagesOptions = {}): RolloutFilter {
	const index = new ImageHashIndex(maxDistance);
	const keys: string[] = [];
	return wholeRecord("near-duplicate-images", "record", async ([{ record }]) => {
		const hashes = await hashesOf(record);
		if (typeof hashes === "string") return hashes;
		const found = earlierRecord(index, hashes, match);
		if (found !== undefined) return `shows what record ${keys[found]} shows`;
		for (const hash of hashes) index.add(hash);
		keys.push(record.key);
		return undefined;
	});
}

/** The hashes of both images, or why there are none. */
export async function hashesOf({ images }: Pick<PreferenceRecord, "images">): Promise<[ImageHash, ImageHash] | string> {
	try {
		return [await imageHash(images[0]), await imageHash(images[1])];
	} catch (error) {
		return `its images can't be compared: ${error instanceof Error ? error.message : String(error)}`;
	}
}

/** Image n of the index is image n % 2 of record n / 2. */
function earlierRecord(index: ImageHashIndex, [first, second]: [ImageHash, ImageHash], match: "both" | "any"): number | undefined {
	const [likeFirst, likeSecond] = [index.near(first), index.near(second)];
	for (const image of likeFirst) {
		const sibling = image ^ 1;
		if (match === "any" || likeSecond.has(sibling)) return image >> 1;
	}
	const [any] = likeSecond;
	return match === "any" && any !== undefined ? any >> 1 : undefined;
}
