import { readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ChatTemplate, loadChatTemplate, type TemplateMessage } from "../../src/model/qwen2_5_vl/chat-template.js";
import { QwenTokenizer } from "../../src/model/qwen2_5_vl/tokenizer.js";
import { goldenPath } from "../fixtures/read-golden.js";

interface Rendering {
	name: string;
	messages: TemplateMessage[];
	add_generation_prompt: boolean;
	add_vision_id: boolean;
	text: string;
}

const tiny = goldenPath("tiny-qwen2_5_vl");
const { rows }: { rows: Rendering[] } = JSON.parse(readFileSync(goldenPath("chat_template.json"), "utf8"));

describe("chat template", () => {
	let dir: string;
	beforeEach(async () => {
		dir = await mkdtemp(join(tmpdir(), "template-"));
	});
	afterEach(() => rm(dir, { recursive: true }));

	it("renders the 24 reference conversations, from whichever file holds the template", async () => {
		const { config } = await QwenTokenizer.load(tiny);
		const templates = [await loadChatTemplate(tiny, config), await loadChatTemplate(dir, config)];
		await cp(join(tiny, "chat_template.json"), join(dir, "chat_template.json"));
		templates.push(await loadChatTemplate(dir, {}));
		expect(rows).toHaveLength(24);
		for (const template of templates) {
			for (const { messages, text, ...flags } of rows) {
				expect(template.render(messages, { addGenerationPrompt: flags.add_generation_prompt, addVisionId: flags.add_vision_id })).toBe(
					text,
				);
			}
		}
	});

	it("prefers chat_template.jinja, then chat_template.json, then the default of tokenizer_config.json", async () => {
		const named = {
			chat_template: [
				{ name: "tools", template: "tools" },
				{ name: "default", template: "config" },
			],
		};
		const rendered = async () => (await loadChatTemplate(dir, named)).render([]);
		expect(await rendered()).toBe("config");
		await writeFile(join(dir, "chat_template.json"), '{"chat_template":"json"}');
		expect(await rendered()).toBe("json");
		await writeFile(join(dir, "chat_template.jinja"), "jinja");
		expect(await rendered()).toBe("jinja");
	});

	it("gives a template the tokens and raise_exception, and names the file that failed", async () => {
		const template = new ChatTemplate(
			"{{ eos_token }}{% if not messages %}{{ raise_exception('no turns') }}{% endif %}",
			{ eos_token: "<e>" },
			"x.jinja",
		);
		expect(template.render([{ role: "user", content: "a" }])).toBe("<e>");
		expect(() => template.render([])).toThrow(/x.jinja: refused the conversation: .*no turns/);
		expect(() => new ChatTemplate("{% if %}", {}, "x.jinja")).toThrow(/x.jinja: is not a template that can be parsed/);
		await expect(loadChatTemplate(dir, {})).rejects.toThrow(
			/no chat template in chat_template.jinja, chat_template.json or tokenizer_config.json/,
		);
		await writeFile(join(dir, "chat_template.json"), "{}");
		await expect(loadChatTemplate(dir, {})).rejects.toThrow(/chat_template.json: .*chat_template/s);
	});
});
