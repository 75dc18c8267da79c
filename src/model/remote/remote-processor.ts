/**
 * A remote model's processor: it packages conversations and leaves tokenizing to the server. What it returns has the shapes of the seam and no
 * tokens; the conversation behind is kept beside it, by identity.
 */
import type { CollateOptions, ContentPart, EncodedConversation, Message, ModelInputs, Processor } from "../generative-model.js";
import { checkImage } from "./remote-image.js";

export interface RemoteProcessor extends Processor {
	/** What an encoded conversation says. @throws Error for one that another processor encoded */
	conversationOf(encoded: EncodedConversation): Message[];
	/** The conversations of a batch. @throws Error for inputs of another processor */
	rowsOf(inputs: ModelInputs): EncodedConversation[];
}

export function remoteProcessor(): RemoteProcessor {
	const conversations = new WeakMap<EncodedConversation, Message[]>();
	const batches = new WeakMap<ModelInputs, EncodedConversation[]>();

	async function encodeConversation(conversation: Message[], { addGenerationPrompt = false } = {}): Promise<EncodedConversation> {
		if (!addGenerationPrompt) {
			throw new Error(
				"remote model: encodeConversation: expected addGenerationPrompt: true (a chat endpoint always opens the assistant's turn), " +
					"got false; conversations to train on are encoded by a local model's processor",
			);
		}
		for (const image of imagesOf(conversation)) await checkImage(image);
		const encoded = { inputIds: new Int32Array(0), assistantMask: new Uint8Array(0), images: [] };
		conversations.set(encoded, conversation);
		return encoded;
	}

	function collate(encoded: EncodedConversation[], _options?: CollateOptions): ModelInputs {
		for (const row of encoded) conversationOf(row);
		const none = () => ({ data: new Int32Array(0), shape: [encoded.length, 0] as [number, number] });
		const inputs = { inputIds: none(), attentionMask: none() };
		batches.set(inputs, encoded);
		return inputs;
	}

	function conversationOf(encoded: EncodedConversation): Message[] {
		const conversation = conversations.get(encoded);
		if (!conversation) throw new Error("remote model: expected a conversation that its own processor encoded, got another");
		return conversation;
	}

	return {
		encodeConversation,
		collate,
		async encode(rows, { addGenerationPrompt } = {}) {
			return collate(await Promise.all(rows.map((row) => encodeConversation(row, { addGenerationPrompt }))));
		},
		decode() {
			throw new Error("remote model: decode: token ids are the server's and not known here; the text comes with each sample");
		},
		conversationOf,
		rowsOf(inputs) {
			const rows = batches.get(inputs);
			if (!rows) throw new Error("remote model: expected inputs of its own processor, got others; use model.processor.encode");
			return rows;
		},
	};
}

function imagesOf(conversation: Message[]): (string | Buffer)[] {
	const parts = conversation.flatMap(({ content }): ContentPart[] => (typeof content === "string" ? [] : content));
	return parts.flatMap((part) => (part.type === "image" ? [part.image] : []));
}
