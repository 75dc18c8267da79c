/** From a pair to an encoded example: both answers' conversations, with nothing but the answers labelled. */
import type { EncodedConversation, Processor } from "../model/generative-model.js";
import { type DroppedRow, encodeRow, nameRow } from "./collate.js";
import { conversationMessages, refuseLinksOut } from "./conversation-messages.js";
import type { RowReading } from "./objective.js";
import type { PairExample } from "./pair-batch.js";
import { conversationOf, type PreferencePair, SIDES } from "./preference-pair.js";

/**
 * @param row the row's number
 * @throws for a pair that contradicts itself; an unreadable image, or an answer that is too long, drops the row instead
 */
export async function encodePair(
	pair: PreferencePair,
	row: number,
	processor: Processor,
	{ dataRoot, maxLength }: RowReading,
): Promise<PairExample | DroppedRow> {
	const name = { row, key: pair.provenance?.key };
	if (dataRoot !== undefined) await refuseLinksOut(pair, nameRow(name), dataRoot);
	const answers: EncodedConversation[] = [];
	for (const side of SIDES) {
		const messages = conversationMessages(conversationOf(pair, side), nameRow(name), dataRoot);
		const one = await encodeRow({ messages, key: name.key }, row, processor, { maxLength });
		if (!("encoded" in one)) return { ...one, detail: `with the ${side} answer: ${one.detail}` };
		answers.push(lastTurnOnly(one.encoded));
	}
	const [encoded, rejected] = answers;
	return { ...name, encoded, rejected: { ...rejected, images: encoded.images } }; // the same images, once in memory
}

/** Earlier turns of an assistant are part of the question. */
function lastTurnOnly({ assistantMask, ...encoded }: EncodedConversation): EncodedConversation {
	const last = new Uint8Array(assistantMask.length);
	for (let t = assistantMask.lastIndexOf(1); t >= 0 && assistantMask[t] === 1; t--) last[t] = 1;
	return { ...encoded, assistantMask: last };
}
