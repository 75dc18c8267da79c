import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_COT_PROMPT, DEFAULT_NO_COT_PROMPT, fillTemplate, readPromptTemplate } from "../../src/sampler/prompt.js";
import { temporaryFolder } from "../dataset/hpdv3-folder.js";

describe("fillTemplate", () => {
	it.each([
		["$&", "A $& B"],
		["$1 $$ $`", "A $1 $$ $` B"],
		["{prompt}", "A {prompt} B"],
		["\u0024{process.exit(1)}", "A \u0024{process.exit(1)} B"],
		["\\n</answer>", "A \\n</answer> B"],
	])("puts %s in as it is", (caption, expected) => {
		expect(fillTemplate("A {prompt} B", caption)).toBe(expected);
	});

	it("keeps any caption without <image>, in every place", () => {
		fc.assert(
			fc.property(fc.string(), (caption) => {
				fc.pre(!caption.includes("<image>"));
				expect(fillTemplate("{prompt}|{prompt}", caption)).toBe(`${caption}|${caption}`);
			}),
		);
	});

	it("sets a caption's <image> apart, so that it is no placeholder", () => {
		expect(fillTemplate("{prompt}", "an <image> of an <image>")).toBe("an < image > of an < image >");
	});
});

describe("templates", () => {
	it.each([DEFAULT_COT_PROMPT, DEFAULT_NO_COT_PROMPT])("by default ask for the answer's two forms, and for the dimensions", (template) => {
		for (const part of ["{prompt}", "Image 1 is better", "Image 2 is better", "Semantic consistency", "Aesthetics", "Authenticity"]) {
			expect(template).toContain(part);
		}
	});

	it("ask for reasoning only where it is wanted", () => {
		expect(DEFAULT_COT_PROMPT).toMatch(/<think>[\s\S]*Total[\s\S]*<\/think>\n<answer>/);
		expect(DEFAULT_NO_COT_PROMPT).not.toContain("think");
	});

	it("are read from a file, and refused by its name", async () => {
		const file = join(await temporaryFolder(), "question.txt");
		await writeFile(file, "Which suits {prompt}?");
		expect(await readPromptTemplate(file)).toBe("Which suits {prompt}?");
		await writeFile(file, "Which?");
		await expect(readPromptTemplate(file)).rejects.toThrow(/question\.txt: expected a text with \{prompt\}/);
	});
});
