/**
 * Pairs from a file, in the forms that `writeExports` writes for other trainers and that the field's data sets have: JSON, JSON Lines or Parquet
 * of
 * - LLaMA-Factory: `conversations`, `chosen`, `rejected` as ShareGPT turns, `images`
 * - TRL: `prompt`, `chosen`, `rejected` as messages (or no `prompt`, and both sides with it), images as parts at their places or as `<image>`
 * - ms-swift: `messages` that end with the chosen answer, `rejected_response`
 */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { type CheckedRow, checkRow } from "../files/check-row.js";
import { checkedRows } from "../files/checked-rows.js";
import { readRows } from "../files/read-rows.js";
import { type PreferencePair, preferencePair } from "./preference-pair.js";
import { IMAGE_PLACEHOLDER, withPlaceholders } from "./sharegpt.js";

const FROM = { user: "human", assistant: "gpt", system: "system" } as const;

const part = z.object({ type: z.enum(["text", "image"]), text: z.string().nullish() });
const message = z.object({ role: z.enum(["user", "assistant", "system"]), content: z.union([z.string(), z.array(part)]) });
type ChatMessage = z.output<typeof message>;
const hasImages = ({ content }: ChatMessage) => typeof content !== "string" && content.some(({ type }) => type === "image");
const side = z
	.array(message)
	.min(1)
	.refine((messages) => messages.at(-1)?.role === "assistant", { error: "an assistant's message at the end" })
	.refine((messages) => !hasImages(messages[messages.length - 1]), { error: "text alone: both answers are about the question's images" });

const others = { images: z.array(z.string().min(1)).nullish(), provenance: z.looseObject({ key: z.string() }).nullish() };

const trl = z
	.object({ prompt: z.array(message).min(1).nullish(), chosen: side, rejected: side, ...others })
	.refine(({ prompt, chosen, rejected }) => !prompt || (chosen.length === 1 && rejected.length === 1), {
		path: ["chosen"],
		error: "one message on each side, the answer",
	})
	.refine(({ prompt, chosen, rejected }) => !!prompt || isDeepStrictEqual(chosen.slice(0, -1), rejected.slice(0, -1)), {
		path: ["rejected"],
		error: "the chosen side's question and images before the answer",
	})
	.transform(({ prompt, chosen, rejected, ...rest }) => ({
		conversations: [...(prompt ?? []), ...chosen.slice(0, -1)].map(turn),
		...{ chosen: turn(chosen[chosen.length - 1]), rejected: turn(rejected[rejected.length - 1]), ...rest },
	}));

const msSwift = z
	.object({
		messages: side,
		rejected_response: z.string(),
		rejected_images: z
			.unknown()
			.refine((given) => given === undefined || given === null, { error: "none: both answers are about the same images" })
			.optional(),
		...others,
	})
	.transform(({ messages, rejected_response: rejected, rejected_images: _, ...rest }) => ({
		conversations: messages.slice(0, -1).map(turn),
		...{ chosen: turn(messages[messages.length - 1]), rejected: { from: "gpt", value: rejected }, ...rest },
	}));

/**
 * Reads pairs one by one, each checked: both answers there and different, as many placeholders as images.
 * @throws DatasetError for a file that can't be read and for a row that is no such pair
 */
export async function* readPreferencePairs(file: string): AsyncGenerator<PreferencePair> {
	for await (const { row, value } of checkedRows(file, readRows(file), toPair)) yield withPlaceholders(value, file, row);
}

/** @returns the pair, or what is wrong with it, by the names of its own form where that is known */
function toPair(value: unknown): CheckedRow<PreferencePair> {
	const form = formOf(value);
	if (!form) return checkRow(preferencePair, value);
	const read = checkRow<Record<string, unknown>>(form, value);
	if (!read.ok) return read;
	const { images, provenance, ...rest } = read.value;
	return checkRow(preferencePair, { ...rest, images: images ?? [], ...(provenance ? { provenance } : {}) });
}

/** LLaMA-Factory's is the pair itself. */
function formOf(value: unknown): z.ZodType<Record<string, unknown>> | undefined {
	if (typeof value !== "object" || value === null) return undefined;
	if ("messages" in value || "rejected_response" in value) return msSwift;
	const isTrl = "prompt" in value || ("chosen" in value && Array.isArray(value.chosen));
	return isTrl ? trl : undefined;
}

function turn({ role, content }: ChatMessage): { from: "human" | "gpt" | "system"; value: string } {
	const text =
		typeof content === "string" ? content : content.map((one) => (one.type === "image" ? IMAGE_PLACEHOLDER : (one.text ?? ""))).join("");
	return { from: FROM[role], value: text };
}
