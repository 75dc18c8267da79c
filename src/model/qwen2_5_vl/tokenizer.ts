/**
 * Qwen's byte-level BPE, by the library @huggingface/tokenizers, behind the few calls that the processor needs.
 *
 * The library's ids equal those of the reference on every string of the fixtures and on a real 151k vocabulary, 'ſ, U+0085 and BOM
 * included. What is set right here: it refuses to decode an empty row, it joins spaces and punctuation on decoding unless told not to,
 * and it has no way to take text in which special tokens are text (`encodeText`; the reference calls it split_special_tokens).
 * Ids beyond the vocabulary (the embedding is padded) decode to nothing, invalid UTF-8 to U+FFFD, both as in the reference.
 */
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { readJsonFile } from "./read-json-file.js";

/** What is used of the library; its own declarations don't resolve under Node's ESM rules. */
interface Library {
	normalizer: ((text: string) => string) | null;
	pre_tokenizer: ((text: string) => string[]) | null;
	model: (words: string[]) => string[];
	encode(text: string): { ids: number[] };
	decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
	token_to_id(token: string): number | undefined;
	id_to_token(id: number): string | undefined;
}

const tokenizerSchema = z.looseObject({
	model: z.looseObject({ type: z.literal("BPE") }),
	decoder: z.looseObject({ type: z.literal("ByteLevel") }),
	added_tokens: z.array(z.looseObject({ id: z.number().int().nonnegative(), content: z.string().min(2), special: z.boolean() })),
});

const tokenOrText = z.union([z.string(), z.looseObject({ content: z.string() }).transform((token) => token.content)]).nullish();
const configSchema = z.looseObject({
	pad_token: tokenOrText,
	eos_token: tokenOrText,
	bos_token: tokenOrText,
	unk_token: tokenOrText,
	chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish(),
});

/** The fields of tokenizer_config.json that are used; tokens as their text. */
export type TokenizerConfig = z.infer<typeof configSchema>;

/** Text to token ids and back. */
export class QwenTokenizer {
	/** The control tokens' texts, e.g. `<|im_end|>`. Added tokens that are ordinary text to a model (`<think>`) are not among them. */
	readonly specialTokens: readonly string[];
	private readonly special: ReadonlySet<string>;
	private readonly added: ReadonlySet<string>;
	private readonly splitSpecial: RegExp | undefined;
	private readonly splitAdded: RegExp | undefined;

	private constructor(
		private readonly library: Library,
		added: { content: string; special: boolean }[],
		readonly config: TokenizerConfig,
		private readonly file: string,
	) {
		this.specialTokens = added.filter((token) => token.special).map((token) => token.content);
		this.special = new Set(this.specialTokens);
		this.added = new Set(added.map((token) => token.content));
		this.splitSpecial = anyOf(this.specialTokens);
		this.splitAdded = anyOf(added.filter((token) => !token.special).map((token) => token.content));
	}

	/**
	 * Reads tokenizer.json and tokenizer_config.json.
	 * @throws Error if one is missing or describes another kind of tokenizer.
	 */
	static async load(dir: string): Promise<QwenTokenizer> {
		const file = join(dir, "tokenizer.json");
		const json = await required(file, tokenizerSchema);
		const config = await required(join(dir, "tokenizer_config.json"), configSchema);
		return new QwenTokenizer(new Tokenizer(json, config), json.added_tokens, config, file);
	}

	/** Special tokens in the text become their ids: for text that a template wrote. */
	encode(text: string): number[] {
		return this.library.encode(text).ids;
	}

	/** Special tokens in the text are text: for what people and models wrote. Other text gets the same ids as from `encode`. */
	encodeText(text: string): number[] {
		if (!this.splitSpecial || text.search(this.splitSpecial) < 0) return this.encode(text);
		return split(text, this.splitAdded).flatMap((piece, i) => (i % 2 === 1 ? [this.tokenId(piece)] : this.encodePlain(piece)));
	}

	private encodePlain(text: string): number[] {
		if (text === "") return [];
		const { normalizer, pre_tokenizer: preTokenizer, model } = this.library;
		const normalized = normalizer ? normalizer(text) : text;
		return model(preTokenizer ? preTokenizer(normalized) : [normalized]).map((token) => this.tokenId(token));
	}

	/** Cuts a text at its special tokens: text, token, text, token, … text. */
	splitAtSpecialTokens(text: string): string[] {
		return split(text, this.splitSpecial);
	}

	decode(ids: ArrayLike<number>, { skipSpecialTokens = true }: { skipSpecialTokens?: boolean } = {}): string {
		if (ids.length === 0) return "";
		return this.library.decode(Array.from(ids), { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false });
	}

	/** @throws Error if the vocabulary lacks the token. */
	tokenId(token: string): number {
		const id = this.library.token_to_id(token);
		if (id === undefined) throw new Error(`${this.file}: no token ${JSON.stringify(token)}; expected a Qwen2.5-VL tokenizer`);
		return id;
	}

	/** What a token adds to a text; "" for a control token, U+FFFD for a part of a character. Faster than `decode`. */
	textOf(id: number): string {
		const piece = this.library.id_to_token(id);
		if (piece === undefined || this.special.has(piece)) return "";
		if (this.added.has(piece)) return piece;
		const bytes = Uint8Array.from(piece, (character) => BYTES.get(character) ?? 0x3f);
		return UTF8.decode(bytes);
	}

	/** UTF-8 bytes that a token stands for: in a byte-level vocabulary one per character. */
	byteLength(id: number): number {
		return this.library.id_to_token(id)?.length ?? 0;
	}
}

const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A byte-level vocabulary's characters and the bytes they stand for: printable Latin-1 is itself, the other bytes are U+0100 and on, in their order.
 * Source: GPT-2, encoder.py, bytes_to_unicode.
 */
const BYTES: ReadonlyMap<string, number> = (() => {
	const isPrintable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
	let next = 0x100;
	return new Map(Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(isPrintable(byte) ? byte : next++), byte]));
})();

/** Matches the longest of the texts, and captures it. */
function anyOf(texts: readonly string[]): RegExp | undefined {
	if (texts.length === 0) return undefined;
	const escaped = [...texts].sort((a, b) => b.length - a.length).map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
	return new RegExp(`(${escaped.join("|")})`);
}

/** Texts at even indices, what the pattern captures at odd ones. */
function split(text: string, pattern: RegExp | undefined): string[] {
	return pattern ? text.split(pattern) : [text];
}

async function required<S extends z.ZodType>(file: string, schema: S): Promise<z.infer<S>> {
	const json = await readJsonFile(file);
	if (json === undefined) throw new Error(`${file}: no such file; expected it beside the weights (save the processor into the folder too)`);
	const parsed = schema.safeParse(json);
	if (!parsed.success) throw new Error(`${file}: ${z.prettifyError(parsed.error)}`);
	return parsed.data;
}
