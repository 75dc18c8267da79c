/**
 * What a preference record is. Images are kept in *stored* order, the preferred one named by `preferred`;
 * the order in which a judge is shown them is separate data (`order`), because everything downstream
 * (the answer, the exported images, the reasoning's "Image 1") is relative to what was shown.
 */

/** Which stored image is shown first and second: `[0, 1]` as stored, `[1, 0]` swapped. */
export type ShownOrder = readonly [0, 1] | readonly [1, 0];

/** One preference: a caption, two images, and which of the two people preferred. */
export interface PreferenceRecord {
	/** Hex SHA-256 prefix over the record's content (prompt, images as written, preference, criteria); never its position. See `keyOf`. */
	key: string;
	/** The caption both images were made for. */
	prompt: string;
	/** Absolute paths, in stored order (HPDv3: `path1`, `path2`). */
	images: readonly [string, string];
	/** Index into `images` of the preferred one. HPDv3 stores it first: 0. */
	preferred: 0 | 1;
	/** The order in which the judge is shown the images. */
	order: ShownOrder;
	/** Where the row came from: the schema's name, the file, and the row's number in it, counted from 0. */
	source: { name: string; file: string; row: number };
	/** By what the images were compared, in words that the judge is told, as OmniReward-Bench carries it. Default: in general. */
	criteria?: string;
	/** Votes for path1 and path2, as HPDv3 carries them. */
	choiceDist?: readonly number[];
	/** Label confidence in [0, 1], as HPDv3 carries it. */
	confidence?: number;
	/** The generators of path1 and path2. */
	model1?: string;
	model2?: string;
}

/** The two image paths in the order in which they are shown. */
export function shownImages(record: Pick<PreferenceRecord, "images" | "order">): [string, string] {
	return [record.images[record.order[0]], record.images[record.order[1]]];
}
