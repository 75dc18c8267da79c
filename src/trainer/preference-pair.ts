/**
 * Two answers to one question, of which the chosen one is better: LLaMA-Factory's ShareGPT form of a pair, which every other one is read into
 * (read-preference-pairs.ts). Both answers are about the same images.
 */
import { z } from "zod";
import { checkRow } from "../files/check-row.js";
import { conversationMessages } from "./conversation-messages.js";
import type { ShareGptConversation } from "./sharegpt.js";

export interface PreferencePair {
	/** The question, with whatever came before it; `<image>` stands for each image. */
	conversations: ShareGptConversation["conversations"];
	chosen: { from: "gpt"; value: string };
	rejected: { from: "gpt"; value: string };
	/** Paths; relative ones are relative to the trainer's data root. */
	images: string[];
	/** Where the pair came from; its key names the row in messages. */
	provenance?: { key: string };
}

export const SIDES = ["chosen", "rejected"] as const;

const answer = z.object({
	from: z.literal("gpt"),
	value: z.string().refine((text) => text.trim() !== "", { error: "an answer that is not empty" }),
});

export const preferencePair = z
	.object({
		conversations: z
			.array(z.object({ from: z.enum(["human", "gpt", "system"]), value: z.string() }))
			.min(1)
			.refine((turns) => turns.at(-1)?.from === "human", { error: "a question at the end: a human turn" }),
		chosen: answer,
		rejected: answer,
		images: z.array(z.string().min(1)).default([]),
		provenance: z.looseObject({ key: z.string() }).optional(),
	})
	.refine(({ chosen, rejected }) => chosen.value !== rejected.value, {
		path: ["rejected", "value"],
		error: "another answer than the chosen one",
	});

/** Whether a row is meant as a pair. */
export const isPair = (row: unknown): boolean => typeof row === "object" && row !== null && SIDES.some((side) => side in row);

/**
 * @param where names the row in errors
 * @throws for a row that is no pair, or contradicts itself
 */
export function checkPair(row: unknown, where: string, dataRoot?: string): void {
	if (!isPair(row)) {
		throw new Error(
			`${where}: expected a pair with a chosen and a rejected answer (readPreferencePairs), got a conversation or a function`,
		);
	}
	const checked = checkRow(preferencePair, row);
	if (!checked.ok) throw new Error(`${where}: ${checked.field}: expected ${checked.expected}, got ${checked.got}`);
	conversationMessages(conversationOf(checked.value, "chosen"), where, dataRoot);
}

/** The conversation that ends with one of the answers. */
export function conversationOf(pair: PreferencePair, side: (typeof SIDES)[number]): Pick<ShareGptConversation, "conversations" | "images"> {
	return { conversations: [...pair.conversations, pair[side]], images: pair.images };
}
