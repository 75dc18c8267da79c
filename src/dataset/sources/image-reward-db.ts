/**
 * ImageRewardDB: a row is one image of a prompt, with its `rank` among that prompt's images, 1 the best. As in LightRFT's
 * `image_reward_db.py`, any two images of a prompt are a pair, the one of lower rank is preferred, and equal ranks are ties.
 *
 * A prompt's rows stand together in the published shards, and one prompt's are in memory at a time; a prompt that comes again after others is a
 * bad row, since its pairs with the earlier images would be missing. `image_path` (`images/train/train_1/….webp`) is relative to the folder that holds `images/`.
 * Format: https://huggingface.co/datasets/zai-org/ImageRewardDB
 */
import { dirname, resolve, sep } from "node:path";
import { z } from "zod";
import { checkRow } from "../../files/check-row.js";
import type { JsonRow } from "../../files/parse-json-row.js";
import { badRow, imageReference, nonEmpty, type PairSource, type ReadPair, TIE } from "./pair-source.js";

const rankedImage = z.object({
	prompt_id: z.union([z.string(), z.number()]),
	prompt: nonEmpty,
	image_path: imageReference,
	rank: z.number(),
});
type RankedRow = { row: number; value: unknown; image: z.output<typeof rankedImage> };

export const imageRewardDb: PairSource = {
	imageRoot(file) {
		const path = resolve(file);
		const images = path.lastIndexOf(`${sep}images${sep}`);
		return images < 0 ? dirname(path) : path.slice(0, images) || sep;
	},
	async *read(rows) {
		const seen = new Set<string | number>();
		let group: RankedRow[] = [];
		for await (const read of rows) {
			const ranked = rankedRow(read);
			if (!("image" in ranked)) {
				yield ranked;
				continue;
			}
			const { prompt_id } = ranked.image;
			if (group.length > 0 && group[0].image.prompt_id !== prompt_id) {
				yield* pairsOf(group);
				group = [];
			}
			if (group.length === 0 && seen.has(prompt_id)) {
				const expected = "the rows of a prompt together (sort the file by prompt_id)";
				yield badRow(ranked, { ...{ ok: false, field: "prompt_id", kind: "wrong-type" }, expected, got: `${prompt_id} again` });
				continue;
			}
			seen.add(prompt_id);
			group.push(ranked);
		}
		yield* pairsOf(group);
	},
};

function rankedRow(read: JsonRow): RankedRow | ReadPair {
	if ("kind" in read) return { field: "", ...read };
	const checked = checkRow(rankedImage, read.value);
	return checked.ok ? { ...read, image: checked.value } : badRow(read, checked);
}

function* pairsOf(group: readonly RankedRow[]): Generator<ReadPair> {
	for (const [i, { row, value, image: first }] of group.entries()) {
		for (const { image: second } of group.slice(i + 1)) {
			if (first.rank === second.rank) yield { row, value, pair: TIE };
			else {
				const preferred = first.rank < second.rank ? 0 : 1;
				const images = [first.image_path, second.image_path] as const;
				yield { row, value, pair: { prompt: first.prompt, images, imageFields: ["image_path", "image_path"], preferred } };
			}
		}
	}
}
