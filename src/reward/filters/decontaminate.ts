import type { PreferenceRecord } from "../../dataset/preference-record.js";
import { type RolloutFilter, wholeRecord } from "../rollout-filter.js";
import { ImageHashIndex } from "./image-hash.js";
import { MinHashIndex } from "./min-hash-index.js";
import { hashesOf } from "./near-duplicate-images.js";

export interface DecontaminateOptions {
	/** Least share of common words and word pairs of a caption with one of the evaluation's; `false` doesn't compare them. Default 0.8. */
	promptSimilarity?: number | false;
	/** Most bits, of 64, between a picture and one of the evaluation's; `false` doesn't compare them. Default 2. */
	imageDistance?: number | false;
}

/**
 * Reads an evaluation set, and makes a filter that leaves out every record that has a caption or an image of it. About the record.
 * @param evaluation as `loadDataset` gives it.
 * @throws what `evaluation` throws; Error for an image of it that can't be read, since what is not known can't be left out.
 */
export async function decontaminate(
	evaluation: Iterable<Pick<PreferenceRecord, "prompt" | "images">> | AsyncIterable<Pick<PreferenceRecord, "prompt" | "images">>,
	{ promptSimilarity = 0.8, imageDistance = 2 }: DecontaminateOptions = {},
): Promise<RolloutFilter> {
	const prompts = promptSimilarity === false ? undefined : new MinHashIndex(promptSimilarity);
	const images = imageDistance === false ? undefined : new ImageHashIndex(imageDistance);
	for await (const record of evaluation) {
		prompts?.nearOrAdd(record.prompt);
		if (!images) continue;
		const hashes = await hashesOf(record);
		if (typeof hashes === "string") throw new Error(`decontaminate: evaluation record ${JSON.stringify(record.prompt)}: ${hashes}`);
		for (const hash of hashes) if (images.near(hash).size === 0) images.add(hash);
	}
	return wholeRecord("decontaminate", "record", async ([{ record }]) => {
		if (prompts?.near(record.prompt) !== undefined) return "its caption is in the evaluation set";
		if (!images) return undefined;
		const hashes = await hashesOf(record);
		if (typeof hashes === "string") return hashes;
		return hashes.some((hash) => images.near(hash).size > 0) ? "an image of it is in the evaluation set" : undefined;
	});
}
