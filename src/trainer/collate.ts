/**
 * From a row to an encoded example, and from examples to one right-padded batch with labels.
 *
 * An example that is too long is dropped with a reason, never cut: a cut inside an image's tokens would leave
 * patches without a place. The label of a position is the token after it, where an assistant says that token.
 *
 * Legend: B batch, T tokens, N labelled tokens.
 */
import { type EncodedConversation, ImageError, type Message, type ModelInputs, type Processor } from "../model/generative-model.js";
import { conversationMessages, refuseLinksOut } from "./conversation-messages.js";
import type { PreferencePair } from "./preference-pair.js";
import type { ShareGptConversation } from "./sharegpt.js";

/** What can be trained on: a ShareGPT row, the messages themselves (images may be bytes), or an encoded conversation. */
export type TrainingConversation =
	| ShareGptConversation
	| { messages: Message[]; key?: string }
	| { encoded: EncodedConversation; key?: string };

/** A conversation, or a function that makes one each time it is needed (an example rendered on the fly); with DPO a pair. */
export type TrainingRow = TrainingConversation | (() => TrainingConversation | Promise<TrainingConversation>) | PreferencePair;

/** Names a row: its number in the order in which rows came, from 0, and its key where it has one. */
export interface RowName {
	row: number;
	key?: string;
}

/** A row ready to be trained on. */
export interface TrainingExample extends RowName {
	encoded: EncodedConversation;
	/** Of a pair: the same with the rejected answer. */
	rejected?: EncodedConversation;
}

/** Tokens of an example; of a pair those of the longer conversation. */
export function longestOf({ encoded, rejected }: TrainingExample): number {
	return Math.max(encoded.inputIds.length, rejected?.inputIds.length ?? 0);
}

/** A row that is not trained on, and why. */
export interface DroppedRow extends RowName {
	reason: "too-long" | "bad-image" | "no-label";
	/** For a person. */
	detail: string;
}

/** Right-padded inputs and their labels. */
export interface TrainingBatch {
	inputs: ModelInputs;
	/** [N] positions b·T + t whose next token is labelled. */
	positions: Int32Array;
	/** [N] that next token. */
	targets: Int32Array;
}

/** "row 17", "row 17 (key 3fa4…)". */
export function nameRow({ row, key }: RowName): string {
	return key === undefined ? `row ${row}` : `row ${row} (key ${key})`;
}

/** A conversation's key, where it carries one. */
export function conversationKey(conversation: TrainingConversation | PreferencePair): string | undefined {
	return "conversations" in conversation ? conversation.provenance?.key : conversation.key;
}

/**
 * Tokenizes a row and preprocesses its images.
 *
 * @param maxLength most tokens, image tokens included
 * @throws for a row that contradicts itself (see conversationMessages); an unreadable image drops the row instead
 */
export async function encodeRow(
	conversation: TrainingConversation,
	row: number,
	processor: Processor,
	{ dataRoot, maxLength = Number.POSITIVE_INFINITY }: { dataRoot?: string; maxLength?: number } = {},
): Promise<TrainingExample | DroppedRow> {
	const name: RowName = { row, key: conversationKey(conversation) };
	try {
		const encoded = await encodeConversation(conversation, nameRow(name), processor, dataRoot);
		const length = encoded.inputIds.length;
		if (length > maxLength) return { ...name, reason: "too-long", detail: `${length} tokens; at most ${maxLength} are allowed` };
		if (countLabels(encoded) === 0) return { ...name, reason: "no-label", detail: "no assistant turn to learn from" };
		return { ...name, encoded };
	} catch (error) {
		if (error instanceof ImageError) return { ...name, reason: "bad-image", detail: error.message };
		throw error;
	}
}

async function encodeConversation(conversation: TrainingConversation, where: string, processor: Processor, dataRoot?: string) {
	if ("encoded" in conversation) return conversation.encoded;
	if ("messages" in conversation) return processor.encodeConversation(conversation.messages);
	if (dataRoot !== undefined) await refuseLinksOut(conversation, where, dataRoot);
	return processor.encodeConversation(conversationMessages(conversation, where, dataRoot));
}

/** @returns how many tokens of the example are labelled; the first token has nothing before it to predict it from. */
export function countLabels({ assistantMask }: EncodedConversation): number {
	let n = 0;
	for (let t = 1; t < assistantMask.length; t++) n += assistantMask[t];
	return n;
}

/**
 * Pads examples on the right into one batch.
 * @param padToMultipleOf rows get a multiple of so many tokens
 */
export function collateExamples(
	examples: readonly Pick<TrainingExample, "encoded">[],
	processor: Processor,
	padToMultipleOf = 1,
): TrainingBatch {
	const encoded = examples.map((example) => example.encoded);
	const inputs = processor.collate(encoded, { paddingSide: "right", padToMultipleOf });
	const length = inputs.inputIds.shape[1];
	const positions: number[] = [];
	const targets: number[] = [];
	encoded.forEach(({ inputIds, assistantMask }, b) => {
		for (let t = 1; t < inputIds.length; t++) {
			if (!assistantMask[t]) continue;
			positions.push(b * length + t - 1);
			targets.push(inputIds[t]);
		}
	});
	return { inputs, positions: Int32Array.from(positions), targets: Int32Array.from(targets) };
}
