/**
 * A judged rollout as a training row. Images are exported in the order in which they were *shown*, since the reasoning's "Image 1"
 * and the answer are about that order; the stored order would contradict the text in half of the rows.
 */
import { relative, resolve, sep } from "node:path";
import { isInside } from "../files/is-inside.js";
import type { JudgedRollout } from "../reward/outcome.js";
import { PAIR_HEADER, type ShareGptConversation } from "./sharegpt.js";

export interface ToConversationOptions {
	/** Writes image paths relative to this folder, with `/`. Default: absolute paths. */
	imageRoot?: string;
	/** The bare form: no `<image>` placeholders and no image numbers in the text. Default false. */
	bareImages?: boolean;
}

/**
 * @returns a row with the human turn as the judge read it and the gpt turn as it was generated, in canonical form:
 *   `<think>\n…\n</think>\n<answer>…</answer>`, without the first block where no reasoning was asked for.
 * @throws Error for a rollout without a parsed answer, or with an image outside `imageRoot`.
 */
export function toConversation(
	rollout: JudgedRollout,
	{ imageRoot, bareImages = false }: ToConversationOptions = {},
): ShareGptConversation {
	const { record, sampleIndex, seed } = rollout;
	const { key, source, order, preferred } = record;
	const shown = order.map((stored) => record.images[stored]);
	return {
		conversations: [
			{ from: "human", value: bareImages ? withoutHeader(rollout) : rollout.promptText },
			{ from: "gpt", value: canonicalCompletion(rollout) },
		],
		images: imageRoot === undefined ? shown : shown.map((image) => relativeTo(imageRoot, image, rollout)),
		provenance: { key, source: `${source.name}:${source.file}`, row: source.row, order, sampleIndex, seed, preferred },
	};
}

/** An `<image>`, `<video>` or `<audio>` that the judge wrote is set apart, as in captions: to a ShareGPT reader it would be one more of them. */
function canonicalCompletion(rollout: JudgedRollout): string {
	const { reasoning, answerText, outcome, reason } = rollout;
	if (answerText === undefined) {
		throw new Error(`${nameOf(rollout)}: expected a rollout with a parsed answer, got outcome ${outcome} (${reason}); leave it out`);
	}
	const answer = `<answer>${answerText}</answer>`;
	const text = reasoning === undefined ? answer : `<think>\n${reasoning}\n</think>\n${answer}`;
	return text.replace(/<(image|video|audio)>/g, "< $1 >");
}

function withoutHeader(rollout: JudgedRollout): string {
	if (rollout.promptText.startsWith(PAIR_HEADER)) return rollout.promptText.slice(PAIR_HEADER.length);
	const got = JSON.stringify(rollout.promptText.slice(0, 60));
	throw new Error(`${nameOf(rollout)}: bareImages: expected a promptText that starts with ${JSON.stringify(PAIR_HEADER)}, got ${got}`);
}

function relativeTo(root: string, image: string, rollout: JudgedRollout): string {
	const folder = resolve(root);
	if (isInside(image, folder)) return relative(folder, image).replaceAll(sep, "/");
	throw new Error(`${nameOf(rollout)}: imageRoot ${root}: expected a folder that holds ${image}; give another, or none for absolute paths`);
}

function nameOf({ record: { source, key }, sampleIndex }: JudgedRollout): string {
	return `record ${source.row} of ${source.file} (${key}), sample ${sampleIndex}`;
}
