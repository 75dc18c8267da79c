/**
 * `tfjs-rft/testing`: a judge without weights, for tests of pipelines. Its answers come from a function of the conversation and
 * the row's seed; its tokens are real (words and the white space between them), so that limits, masks and batches behave
 * as with a model: `maxNewTokens` cuts, a signal stops between steps, a missing image is an ImageError.
 */
import { stat } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { ANSWER_CLOSE, ANSWER_OPEN, CLOSING, THINK_CLOSE } from "./model/answer-form.js";
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
import { repetitionDetector } from "./model/repetition-detector.js";

export interface FakeModelOptions {
	/**
	 * What the judge says. With temperature 0 the seed is 0, whatever the row's: greedy decoding knows no seed.
	 * Images are in `conversation` as they were given, in the shown order.
	 */
	answer: (conversation: Message[], seed: number) => string;
	/** Tokens that an image takes in a prompt. Default 4. */
	tokensPerImage?: number;
	/**
	 * How likely each of `texts` is as the answer to this conversation, as log-probabilities, where scores are asked for. Default: the answer
	 * that was given has 0.9, the others share the rest.
	 */
	answerLogProbs?: (conversation: Message[], completion: string, texts: readonly string[]) => readonly number[];
}

const PAD = 0;
const END_OF_TURN = 1;
const IMAGE = 2;
const SPECIAL = ["", "", ""];
/** Decode steps between two turns of the event loop. */
const STEPS_PER_TURN = 16;

/** @returns a model that gives the same text for the same conversation and seed, in any batch. */
export function fakeModel({ answer, tokensPerImage = 4, answerLogProbs = likelyAsSaid }: FakeModelOptions): GenerativeModel {
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
		const guided = rows.map((row, i) => guide(answer(row, temperature === 0 ? 0 : (seeds[i] ?? 0)), vocabulary, options));
		const replies = guided.map(({ text }) => [...vocabulary.encode(text), END_OF_TURN]);
		const ends = replies.map((reply) => reply.findIndex((id) => eosTokenIds.includes(id)) + 1 || Number.POSITIVE_INFINITY);
		const circles = replies.map((reply) => firstRepetition(reply, options.repetitionDetection));
		const lengths = replies.map((reply, i) => Math.min(reply.length, ends[i], circles[i], maxNewTokens));
		for (let step = 0; step < Math.max(0, ...lengths); step++) {
			signal?.throwIfAborted();
			onStep?.(lengths.filter((length) => length > step).length, lengths.length);
			if (step % STEPS_PER_TURN === STEPS_PER_TURN - 1) await setImmediate();
		}
		const tokens = replies.map((reply, i) => Int32Array.from(reply.slice(0, lengths[i])));
		const texts = tokens.map((row) => processor.decode(row));
		const { score, texts: answers = [] } = options.answers ?? {};
		const logProbs = (text: string, i: number) =>
			answerOf(text) === undefined ? undefined : answerLogProbs(rows[i], guided[i].text, answers);
		return {
			...{ tokens, texts },
			finishReasons: lengths.map((length, i) => (length >= ends[i] ? "stop" : length >= maxNewTokens ? "length" : "repetition")),
			...(guided.some(({ forced }) => forced) && { forced: guided.map(({ forced }) => forced) }),
			...(score && { answerLogProbs: texts.map(logProbs) }),
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

/** What a judge that would say `reply` says under these options. */
function guide(reply: string, vocabulary: Vocabulary, { answers, thinkingBudget }: GenerateOptions): { text: string; forced: boolean } {
	const answered = answers?.only ? constrain(reply, answers.texts) : reply;
	const end = answered.indexOf(ANSWER_OPEN);
	if (answers?.straight)
		return { text: `${ANSWER_OPEN}${end < 0 ? answers.texts[0] : answered.slice(end + ANSWER_OPEN.length)}`, forced: false };
	if (thinkingBudget === undefined) return { text: answered, forced: false };
	const tokens = vocabulary.encode(answered);
	const reasoning = vocabulary.decode(tokens.slice(0, thinkingBudget));
	if (tokens.length < thinkingBudget || reasoning.includes(THINK_CLOSE)) return { text: answered, forced: false };
	return { text: `${reasoning}${CLOSING}${end < 0 ? "" : answered.slice(end + ANSWER_OPEN.length)}`, forced: true };
}

/** An answer that is none of the texts, or is missing, becomes the first of them. */
function constrain(reply: string, texts: readonly string[]): string {
	const said = answerOf(reply);
	if (said === undefined || texts.includes(said)) return reply;
	const at = reply.indexOf(ANSWER_OPEN) + ANSWER_OPEN.length;
	const close = reply.indexOf(ANSWER_CLOSE, at);
	return `${reply.slice(0, at)}${texts[0]}${close < 0 ? ANSWER_CLOSE : reply.slice(close)}`;
}

/** What stands after `<answer>`; undefined without one. */
function answerOf(text: string): string | undefined {
	const at = text.indexOf(ANSWER_OPEN);
	return at < 0 ? undefined : text.slice(at + ANSWER_OPEN.length).split(ANSWER_CLOSE)[0];
}

function likelyAsSaid(_: Message[], completion: string, texts: readonly string[]): number[] {
	const said = answerOf(completion) ?? "";
	const which = texts.findIndex((text) => text.startsWith(said));
	if (which < 0 || said === "" || texts.length === 1) return texts.map(() => Math.log(1 / texts.length));
	return texts.map((_, i) => Math.log(i === which ? 0.9 : 0.1 / (texts.length - 1)));
}

/** Tokens up to where a reply goes round in circles. */
function firstRepetition(reply: readonly number[], detection: GenerateOptions["repetitionDetection"]): number {
	if (!detection) return Number.POSITIVE_INFINITY;
	const repeats = repetitionDetector(detection);
	return reply.findIndex((token) => repeats(token)) + 1 || Number.POSITIVE_INFINITY;
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
