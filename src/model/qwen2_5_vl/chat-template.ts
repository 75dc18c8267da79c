/**
 * A checkpoint's chat template: messages to the text that the model was trained to read.
 * Rendered by @huggingface/jinja with the variables that transformers gives a template. Where a folder holds several copies the order
 * is the one of transformers' processors: chat_template.jinja, chat_template.json, tokenizer_config.json.
 */
import { join } from "node:path";
import { Template } from "@huggingface/jinja";
import { z } from "zod";
import { readJsonFile, readTextFile } from "./read-json-file.js";
import type { TokenizerConfig } from "./tokenizer.js";

/** A message as templates read it: images without their pixels. */
export interface TemplateMessage {
	role: string;
	content: string | ({ type: string } & Record<string, unknown>)[];
}

export interface RenderOptions {
	/** Open an assistant turn at the end. Default false. */
	addGenerationPrompt?: boolean;
	/** Number the images in the text ("Picture 1: "). Default false. */
	addVisionId?: boolean;
}

export class ChatTemplate {
	private readonly template: Template;

	/**
	 * @param source Jinja
	 * @param tokens the texts of `bos_token` and the like, for templates that use them
	 * @param file names the template in errors
	 * @throws Error if the source is not a template.
	 */
	constructor(
		source: string,
		private readonly tokens: Record<string, string>,
		private readonly file: string,
	) {
		this.template = attempt(file, "is not a template that can be parsed", () => new Template(source));
	}

	/** @throws Error if the template refuses the messages. */
	render(messages: TemplateMessage[], { addGenerationPrompt = false, addVisionId = false }: RenderOptions = {}): string {
		return attempt(this.file, "refused the conversation", () =>
			this.template.render({ ...this.tokens, messages, add_generation_prompt: addGenerationPrompt, add_vision_id: addVisionId }),
		);
	}
}

/**
 * @param config the folder's tokenizer_config.json
 * @throws Error if the folder has no chat template.
 */
export async function loadChatTemplate(dir: string, config: TokenizerConfig): Promise<ChatTemplate> {
	const tokens: Record<string, string> = {};
	for (const key of ["bos_token", "eos_token", "pad_token", "unk_token"] as const) if (config[key]) tokens[key] = config[key];
	const jinja = join(dir, "chat_template.jinja");
	const source = await readTextFile(jinja);
	if (source !== undefined) return new ChatTemplate(source, tokens, jinja);
	const file = join(dir, "chat_template.json");
	const json = await readJsonFile(file);
	if (json !== undefined) {
		const parsed = z.object({ chat_template: z.string() }).safeParse(json);
		if (!parsed.success) throw new Error(`${file}: ${z.prettifyError(parsed.error)}`);
		return new ChatTemplate(parsed.data.chat_template, tokens, file);
	}
	return new ChatTemplate(fromConfig(dir, config), tokens, join(dir, "tokenizer_config.json"));
}

function fromConfig(dir: string, { chat_template: template }: TokenizerConfig): string {
	if (typeof template === "string") return template;
	const named = template?.find(({ name }) => name === "default");
	if (!named)
		throw new Error(
			`${dir}: no chat template in chat_template.jinja, chat_template.json or tokenizer_config.json; add the one of the model's release`,
		);
	return named.template;
}

function attempt<T>(file: string, what: string, run: () => T): T {
	try {
		return run();
	} catch (cause) {
		throw new Error(`${file}: ${what}: ${cause instanceof Error ? cause.message : cause}`, { cause });
	}
}
