/**
 * A ShareGPT conversation as LLaMA-Factory and LightRFT read it: one `<image>` in the human turn per entry of
 * `images`, images in the order in which they were shown. Files of them are JSON arrays (JSON Lines are read too).
 *
 * The bare form has images but no placeholder at all. A bare row with two images is read back into the judge's own form, each image
 * announced by its number, because that is what the judge is asked when it is sampled.
 */
import { z } from "zod";
import { checkRow } from "../files/check-row.js";
import { checkedRows } from "../files/checked-rows.js";
import { DatasetError } from "../files/dataset-error.js";
import { readJsonRows } from "../files/read-json-rows.js";
import { writeJsonArray } from "../files/write-json-rows.js";

export interface ShareGptConversation {
	conversations: { from: "human" | "gpt" | "system"; value: string }[];
	/** Paths; relative ones are relative to the trainer's data root. */
	images: string[];
	/** Where the row came from; trainers ignore it. */
	provenance?: {
		key: string;
		source: string;
		row: number;
		order: readonly [number, number];
		sampleIndex: number;
		seed: number;
		preferred: 0 | 1;
	};
}

/** What stands in a turn for an image. */
export const IMAGE_PLACEHOLDER = "<image>";
/** How the judge's question begins: both images, each by its number. */
export const PAIR_HEADER = `**Image 1:** ${IMAGE_PLACEHOLDER}\n**Image 2:** ${IMAGE_PLACEHOLDER}\n`;

const whole = z.number().int();
const conversation = z.object({
	conversations: z.array(z.object({ from: z.enum(["human", "gpt", "system"]), value: z.string() })).min(1),
	images: z.array(z.string().min(1)).default([]),
	chosen: z
		.unknown()
		.refine((answer) => answer === undefined, { error: "nothing in a conversation; pairs of answers are learned from with --stage dpo" })
		.optional(),
	provenance: z
		.object({
			key: z.string(),
			source: z.string(),
			row: whole,
			order: z.tuple([whole, whole]),
			sampleIndex: whole,
			seed: whole,
			preferred: z.union([z.literal(0), z.literal(1)]),
		})
		.optional(),
});

/**
 * Writes a JSON array, streamed; the file appears whole or not at all.
 * @returns the number of conversations.
 */
export function writeConversations(
	file: string,
	conversations: Iterable<ShareGptConversation> | AsyncIterable<ShareGptConversation>,
): Promise<number> {
	return writeJsonArray(file, conversations);
}

/**
 * Reads conversations one by one, each checked: its fields, and as many placeholders as images.
 * @throws DatasetError for a file that can't be read and for a row that is not such a conversation.
 */
export async function* readConversations(file: string): AsyncGenerator<ShareGptConversation> {
	for await (const { row, value } of checkedRows(file, readJsonRows(file), (value) => checkRow(conversation, value))) {
		yield withPlaceholders(value, file, row);
	}
}

/**
 * Gives a bare row of two images the judge's own form.
 * @param number the row's, in its file
 * @throws DatasetError for another number of placeholders than of images
 */
export function withPlaceholders<Row extends Pick<ShareGptConversation, "conversations" | "images">>(
	row: Row,
	file: string,
	number: number,
): Row {
	const asked = row.conversations.filter(({ from }) => from !== "gpt");
	const placeholders = asked.reduce((sum, { value }) => sum + value.split(IMAGE_PLACEHOLDER).length - 1, 0);
	const images = row.images.length;
	if (placeholders === images || (placeholders === 0 && images !== 2)) return row;
	const human = row.conversations.findIndex(({ from }) => from === "human");
	if (placeholders === 0 && human >= 0) {
		const headed = row.conversations.map((turn, i) => (i === human ? { ...turn, value: PAIR_HEADER + turn.value } : turn));
		return { ...row, conversations: headed };
	}
	const counts = `${placeholders} ${placeholders === 1 ? "placeholder" : "placeholders"} but ${images} ${images === 1 ? "image" : "images"}`;
	const wayOut =
		placeholders > images ? "add the image or remove a placeholder" : `add ${IMAGE_PLACEHOLDER} where the image goes, or remove it`;
	const problem = {
		file,
		row: number,
		field: "images",
		kind: "wrong-type" as const,
		expected: `one per ${IMAGE_PLACEHOLDER}`,
		got: counts,
	};
	throw DatasetError.ofRow(problem, wayOut);
}
