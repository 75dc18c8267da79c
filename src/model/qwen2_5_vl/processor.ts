/**
 * Qwen2.5-VL's processor: conversations to token ids and pixel values, and back.
 *
 * A conversation is rendered by the checkpoint's chat template, cut at the control tokens that the template wrote, and each piece
 * tokenized; each `<|image_pad|>` becomes as many as its image has merged patches. Control tokens inside people's text are text
 * (shield-special-tokens.ts), and so is `<image>`. Ids are those of transformers' processor on the same conversation.
 */
import { mkdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { writeWhole } from "../../checkpoint/write-whole.js";
import type { EncodedConversation, EncodeOptions, Message, ModelInputs, Processor } from "../generative-model.js";
import { type ChatTemplate, loadChatTemplate, type TemplateMessage } from "./chat-template.js";
import { collate } from "./collate.js";
import { ImageProcessor, parseImageProcessorSettings } from "./image-processor.js";
import type { ImagePatches } from "./patchify.js";
import { readJsonFile } from "./read-json-file.js";
import { shieldSpecialTokens } from "./shield-special-tokens.js";
import { QwenTokenizer } from "./tokenizer.js";

/** The control tokens of Qwen's chat format; their ids come from the vocabulary. */
const TURN_START = "<|im_start|>";
const TURN_END = "<|im_end|>";
const IMAGE_PAD = "<|image_pad|>";
const VIDEO_PAD = "<|video_pad|>";
const DEFAULT_PAD = "<|endoftext|>";
const ASSISTANT_HEADER = "assistant\n";

const ROLES: ReadonlySet<string> = new Set<Message["role"]>(["system", "user", "assistant"]);

type Decoded = Map<string | Buffer, Promise<ImagePatches>>;

export interface LoadProcessorOptions {
	/** Least area in pixels that an image is scaled to. Default: the checkpoint's. */
	minPixels?: number;
	/** Most area in pixels that an image is scaled to. Default: the checkpoint's. */
	maxPixels?: number;
}

/**
 * Reads a checkpoint folder's tokenizer, chat template and image settings.
 * @throws Error that names the file which is missing or wrong.
 */
export async function loadProcessor(dir: string, { minPixels, maxPixels }: LoadProcessorOptions = {}): Promise<Qwen2_5VLProcessor> {
	const tokenizer = await QwenTokenizer.load(dir);
	const chatTemplate = await loadChatTemplate(dir, tokenizer.config);
	const settings = await readImageSettings(dir);
	const imageProcessor = new ImageProcessor({
		...settings,
		minPixels: minPixels ?? settings.minPixels,
		maxPixels: maxPixels ?? settings.maxPixels,
	});
	return new Qwen2_5VLProcessor(tokenizer, chatTemplate, imageProcessor);
}

async function readImageSettings(dir: string) {
	const own = join(dir, "preprocessor_config.json");
	const json = await readJsonFile(own);
	if (json !== undefined) return parseImageProcessorSettings(json, own);
	const joint = join(dir, "processor_config.json");
	const processor = await readJsonFile(joint);
	if (typeof processor === "object" && processor !== null && "image_processor" in processor) {
		return parseImageProcessorSettings(processor.image_processor, `${joint} (image_processor)`);
	}
	throw new Error(
		`${own}: no such file; expected it, or an image_processor in processor_config.json (save the processor into the folder too)`,
	);
}

/** The files that a tokenizer and a processor may consist of, over the versions of transformers. */
const PROCESSOR_FILES = [
	"tokenizer.json",
	"tokenizer_config.json",
	"vocab.json",
	"merges.txt",
	"added_tokens.json",
	"special_tokens_map.json",
	"chat_template.jinja",
	"chat_template.json",
	"preprocessor_config.json",
	"video_preprocessor_config.json",
	"processor_config.json",
];

/**
 * Copies a folder's tokenizer and processor files, those that are there, each appearing whole.
 * @throws Error if `fromDir` lacks tokenizer.json.
 */
export async function saveProcessorFiles(fromDir: string, toDir: string): Promise<void> {
	if (resolve(fromDir) === resolve(toDir)) return;
	await stat(join(fromDir, "tokenizer.json"));
	await mkdir(toDir, { recursive: true });
	for (const name of PROCESSOR_FILES) {
		const bytes = await readFile(join(fromDir, name)).catch((error: NodeJS.ErrnoException) => {
			if (error.code !== "ENOENT") throw error;
		});
		if (bytes) await writeWhole(join(toDir, name), (handle) => handle.writeFile(bytes));
	}
}

/** See the file's head; the methods are those of `Processor`. */
export class Qwen2_5VLProcessor implements Processor {
	readonly padTokenId: number;
	readonly imageTokenId: number;

	/** @throws Error if the vocabulary lacks a control token of the chat format. */
	constructor(
		readonly tokenizer: QwenTokenizer,
		readonly chatTemplate: ChatTemplate,
		readonly imageProcessor: ImageProcessor,
	) {
		this.padTokenId = tokenizer.tokenId(tokenizer.config.pad_token ?? DEFAULT_PAD);
		this.imageTokenId = tokenizer.tokenId(IMAGE_PAD);
		tokenizer.tokenId(TURN_START);
		tokenizer.tokenId(TURN_END);
	}

	async encodeConversation(
		conversation: Message[],
		options: Pick<EncodeOptions, "addGenerationPrompt"> = {},
	): Promise<EncodedConversation> {
		return this.encodeWith(new Map(), conversation, options);
	}

	collate(encoded: EncodedConversation[], options: Pick<EncodeOptions, "paddingSide"> = {}): ModelInputs {
		return collate(encoded, this.padTokenId, options);
	}

	async encode(conversations: Message[][], options: EncodeOptions = {}): Promise<ModelInputs> {
		const decoded: Decoded = new Map();
		const encoded = await Promise.all(conversations.map((conversation) => this.encodeWith(decoded, conversation, options)));
		return this.collate(encoded, options);
	}

	decode(tokens: ArrayLike<number>): string {
		return this.tokenizer.decode(tokens);
	}

	encodeText(text: string): number[] {
		return this.tokenizer.encodeText(text);
	}

	textOf(token: number): string {
		return this.tokenizer.textOf(token);
	}

	/** @param decoded the images of this call, so that none is decoded twice */
	private async encodeWith(
		decoded: Decoded,
		conversation: Message[],
		{ addGenerationPrompt = false }: Pick<EncodeOptions, "addGenerationPrompt">,
	): Promise<EncodedConversation> {
		const shielded = shieldSpecialTokens(conversation.map(toTemplateMessage), this.tokenizer.specialTokens);
		const rendered = this.chatTemplate.render(shielded.messages, { addGenerationPrompt });
		const images = await Promise.all(imagesOf(conversation).map((image) => this.preprocess(decoded, image)));
		return { ...this.tokenize(rendered, shielded.unshield, images), images };
	}

	private preprocess(decoded: Decoded, image: string | Buffer): Promise<ImagePatches> {
		const known = decoded.get(image) ?? this.imageProcessor.preprocess(image);
		decoded.set(image, known);
		return known;
	}

	/** Rendered text to ids, and which of them the assistant says. */
	private tokenize(
		rendered: string,
		unshield: (text: string) => string,
		images: ImagePatches[],
	): Pick<EncodedConversation, "inputIds" | "assistantMask"> {
		const ids: number[] = [];
		const mask: number[] = [];
		const append = (tokens: number[], said: (index: number) => boolean) => {
			for (const [i, id] of tokens.entries()) {
				ids.push(id);
				mask.push(said(i) ? 1 : 0);
			}
		};
		let placed = 0;
		let inAssistant = false;
		const pieces = this.tokenizer.splitAtSpecialTokens(rendered);
		for (const [i, piece] of pieces.entries()) {
			const isText = i % 2 === 0;
			if (isText) {
				const text = unshield(piece);
				const opens = pieces[i - 1] === TURN_START && text.startsWith(ASSISTANT_HEADER);
				const tokens = this.tokenizer.encodeText(text);
				const header = opens ? this.headerLength(tokens) : 0;
				inAssistant ||= opens;
				append(tokens, (k) => inAssistant && k >= header);
			} else if (piece === IMAGE_PAD) {
				const image = images[placed++];
				if (image) append(Array(this.imageProcessor.tokenCount(image.gridThw)).fill(this.imageTokenId), () => false);
			} else if (piece === VIDEO_PAD) throw new Error("processor: the conversation has a video; expected text and images");
			else {
				append([this.tokenizer.tokenId(piece)], () => inAssistant && piece === TURN_END);
				if (piece === TURN_END) inAssistant = false;
			}
		}
		if (placed !== images.length) {
			throw new Error(
				`processor: the conversation has ${images.length} images, its chat template placed ${placed}; use a template for images`,
			);
		}
		return { inputIds: Int32Array.from(ids), assistantMask: Uint8Array.from(mask) };
	}

	/** How many tokens "assistant\n" takes; one that reaches into the answer (an answer that begins with a line break) counts as header. */
	private headerLength(tokens: number[]): number {
		let bytes = 0;
		let count = 0;
		while (bytes < ASSISTANT_HEADER.length) bytes += this.tokenizer.byteLength(tokens[count++]);
		return count;
	}
}

function toTemplateMessage({ role, content }: Message, index: number): TemplateMessage {
	if (!ROLES.has(role)) throw new Error(`processor: message ${index} has role ${JSON.stringify(role)}, expected system, user or assistant`);
	if (typeof content === "string") return { role, content };
	return { role, content: content.map((part) => (part.type === "text" ? { type: "text", text: part.text } : { type: "image" })) };
}

function imagesOf(conversation: Message[]): (string | Buffer)[] {
	return conversation.flatMap(({ content }) =>
		typeof content === "string" ? [] : content.flatMap((part) => (part.type === "image" ? [part.image] : [])),
	);
}
