/**
 * `tfjs-rft/testing`: a judge without weights, for tests of pipelines. Its answers come from a function of the conversation and
 * the row's seed; its tokens are real (words and the white space between them), so that limits, masks and batches behave
 * as with a model: `maxNewTokens` cuts, a signal stops between steps, a missing image is an ImageError.
 */
import { stat } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import {
	type CollateOptions,
	type ContentPart,
	type EncodedConversation,
	type EncodeOptions,
	type GenerateOptions,
	type GenerateResult,
	type GenerativeModel,
	ImageError,
	type Message,
	type ModelInputs,
	type Processor,
} from "./model/generative-model.js";

export interface FakeModelOptions {
	/**
	 * What the judge says. With temperature 0 the seed is 0, whatever the row's: greedy decoding knows no seed.
	 * Images are in `conversation` as they were given, in the shown order.
	 */
	answer: (conversation: Message[], seed: number) => string;
	/** Tokens that an image takes in a prompt. Default 4. */
	tokensPerImage?: number;
}

const PAD = 0;
const END_OF_TURN = 1;
const IMAGE = 2;
const SPECIAL = ["", "", ""];
/** Decode steps between two turns of the event loop. */
const STEPS_PER_TURN = 16;

/** @returns a model that gives the same text for the same conversation and seed, in any batch. */
export function fakeModel({ answer, tokensPerImage = 4 }: FakeModelOptions): GenerativeModel {
	const vocabulary = wordVocabulary();
	const conversations = new WeakMap<EncodedConversation, Message[]>();
	const batches = new WeakMap<ModelInputs, Message[][]>();
	const processor = fakeProcessor(vocabulary, tokensPerImage, conversations, batches);
	let disposed = false;

	async function generate(inputs: ModelInputs, options: GenerateOptions = {}): Promise<GenerateResult> {
		const { maxNewTokens = 256, temperature = 0, seeds = [], eosTokenIds = [END_OF_TURN], signal, onStep } = options;
		const prompts = batches.get(inputs);
		if (disposed) throw new Error("fakeModel: generate after dispose; make another");
		if (!prompts) throw new Error("fakeModel: expected inputs of its own processor, got others; use model.processor.encode");
		const rows = options.promptOfRow?.map((p) => prompts[p]) ?? prompts;
		const replies = rows.map((row, i) => [...vocabulary.encode(answer(row, temperature === 0 ? 0 : (seeds[i] ?? 0))), END_OF_TURN]);
		const ends = replies.map((reply) => reply.findIndex((id) => eosTokenIds.includes(id)) + 1 || Number.POSITIVE_INFINITY);
		const lengths = replies.map((reply, i) => Math.min(reply.length, ends[i], maxNewTokens));
		for (let step = 0; step < Math.max(0, ...lengths); step++) {
			signal?.throwIfAborted();
			onStep?.(lengths.filter((length) => length > step).length, lengths.length);
			if (step % STEPS_PER_TURN === STEPS_PER_TURN - 1) await setImmediate();
		}
		const tokens = replies.map((reply, i) => Int32Array.from(reply.slice(0, lengths[i])));
		return {
			tokens,
			texts: tokens.map((row) => processor.decode(row)),
			finishReasons: lengths.map((length, i) => (length >= ends[i] ? "stop" : "length")),
		};
	}

	return {
		processor,
		generate,
		async [Symbol.asyncDispose]() {
			disposed = true;
		},
	};
}

interface Vocabulary {
	encode(text: string): number[];
	decode(tokens: ArrayLike<number>): string;
}

/** Words and white space as tokens, numbered as they are met: decode(encode(text)) is the text. */
function wordVocabulary(): Vocabulary {
	const pieces = [...SPECIAL];
	const ids = new Map<string, number>();
	const idOf = (piece: string) => {
		const known = ids.get(piece);
		if (known !== undefined) return known;
		ids.set(piece, pieces.length);
		return pieces.push(piece) - 1;
	};
	return {
		encode: (text) => (text.match(/\s+|\S+/g) ?? []).map(idOf),
		decode: (tokens) => Array.from(tokens, (id) => pieces[id]).join(""),
	};
}

function fakeProcessor(
	vocabulary: Vocabulary,
	tokensPerImage: number,
	conversations: WeakMap<EncodedConversation, Message[]>,
	batches: WeakMap<ModelInputs, Message[][]>,
): Processor {
	async function encodeConversation(conversation: Message[], options: Pick<EncodeOptions, "addGenerationPrompt"> = {}) {
		const ids: number[] = [];
		const mask: number[] = [];
		const images: EncodedConversation["images"] = [];
		const push = (tokens: number[], said: boolean) => {
			ids.push(...tokens);
			mask.push(...tokens.map(() => (said ? 1 : 0)));
		};
		for (const { role, content } of conversation) {
			push(vocabulary.encode(`${role}:`), false);
			for (const part of typeof content === "string" ? [{ type: "text", text: content } as const] : content) {
				if (part.type === "text") push(vocabulary.encode(part.text), role === "assistant");
				else {
					await checkImage(part);
					push(new Array<number>(tokensPerImage).fill(IMAGE), false);
					images.push({ pixelValues: { data: new Float32Array(1), shape: [1, 1] }, gridThw: [1, 1, 1] });
				}
			}
			push([END_OF_TURN], role === "assistant");
		}
		if (options.addGenerationPrompt) push(vocabulary.encode("assistant:"), false);
		const encoded = { inputIds: Int32Array.from(ids), assistantMask: Uint8Array.from(mask), images };
		conversations.set(encoded, conversation);
		return encoded;
	}

	function collate(encoded: EncodedConversation[], { paddingSide = "left" }: CollateOptions = {}): ModelInputs {
		const rows = encoded.map((row) => conversations.get(row));
		if (!rows.every((row) => row !== undefined)) throw new Error("fakeModel: expected conversations that its own processor encoded");
		const inputs = padded(encoded, paddingSide);
		batches.set(inputs, rows);
		return inputs;
	}

	return {
		encodeConversation,
		collate,
		async encode(messages, { addGenerationPrompt, paddingSide } = {}) {
			return collate(await Promise.all(messages.map((row) => encodeConversation(row, { addGenerationPrompt }))), { paddingSide });
		},
		decode: vocabulary.decode,
	};
}

/** Images are not decoded, but a file must be there and hold something. */
async function checkImage({ image }: Extract<ContentPart, { type: "image" }>): Promise<void> {
	const name = typeof image === "string" ? image : `image of ${image.length} bytes`;
	const size = typeof image === "string" ? await fileSize(image) : image.length;
	if (size === 0) throw new ImageError(name, "expected an image, got an empty file", { kind: "empty-image" });
}

async function fileSize(file: string): Promise<number> {
	try {
		return (await stat(file)).size;
	} catch (cause) {
		throw new ImageError(file, cause instanceof Error ? cause.message : String(cause), { cause });
	}
}

function padded(encoded: EncodedConversation[], paddingSide: "left" | "right"): ModelInputs {
	const rows = encoded.length;
	const width = Math.max(0, ...encoded.map(({ inputIds }) => inputIds.length));
	const inputIds = new Int32Array(rows * width).fill(PAD);
	const attentionMask = new Int32Array(rows * width);
	for (const [i, { inputIds: ids }] of encoded.entries()) {
		const start = i * width + (paddingSide === "left" ? width - ids.length : 0);
		inputIds.set(ids, start);
		attentionMask.fill(1, start, start + ids.length);
	}
	const images = encoded.flatMap((row) => row.images);
	return {
		inputIds: { data: inputIds, shape: [rows, width] },
		attentionMask: { data: attentionMask, shape: [rows, width] },
		...(images.length > 0 && {
			pixelValues: { data: new Float32Array(images.length), shape: [images.length, 1] },
			imageGridThw: { data: Int32Array.from(images.flatMap((image) => image.gridThw)), shape: [images.length, 3] },
		}),
	};
}
