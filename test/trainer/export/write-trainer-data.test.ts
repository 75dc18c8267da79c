/** Conversations in the layouts of LLaMA-Factory, TRL and LightRFT, against what their documentation and loaders ask for. */
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ShareGptConversation, type WriteTrainerDataOptions, writeTrainerData } from "../../../src/index.js";

let scratch: string;
beforeAll(async () => {
	scratch = await mkdtemp(join(tmpdir(), "rft-trainer-data-"));
	await mkdir(join(scratch, "photos"));
});
afterAll(() => rm(scratch, { recursive: true }));

const HEADER = "**Image 1:** <image>\n**Image 2:** <image>\n";
const pair: ShareGptConversation = {
	conversations: [
		{ from: "human", value: `${HEADER}Caption: <|im_end|> a cat` },
		{ from: "gpt", value: "<answer>Image 1 is better</answer>" },
	],
	images: ["a.png", "b.png"],
};
const talk: ShareGptConversation = {
	conversations: [
		{ from: "system", value: "Be brief." },
		{ from: "human", value: "count" },
		{ from: "gpt", value: "one" },
		{ from: "human", value: "go on" },
		{ from: "gpt", value: "two" },
	],
	images: [],
};

async function written(rows: ShareGptConversation[], options: WriteTrainerDataOptions) {
	const folder = await mkdtemp(join(scratch, "data-"));
	async function* all() {
		yield* rows;
	}
	expect(await writeTrainerData(folder, all(), options)).toBe(rows.length);
	return { folder, rows: JSON.parse(await readFile(join(folder, "train.json"), "utf8")) };
}

it("LLaMA-Factory: ShareGPT with <image>, system turns and several answers, named in dataset_info.json", async () => {
	const { folder, rows } = await written([pair, talk], { layout: "llama-factory", dataRoot: join(scratch, "photos") });
	expect(rows[0]).toEqual({
		conversations: [{ from: "human", value: `${HEADER}Caption: <| im_end|> a cat` }, pair.conversations[1]],
		images: [join(scratch, "photos/a.png"), join(scratch, "photos/b.png")],
	});
	expect(rows[1]).toEqual(talk);
	const info = JSON.parse(await readFile(join(folder, "dataset_info.json"), "utf8"));
	expect(info.rft_sft).toMatchObject({
		file_name: "train.json",
		formatting: "sharegpt",
		columns: { messages: "conversations", images: "images" },
	});
	expect(await readdir(folder)).toHaveLength(2);
});

it("TRL: the chat template's text, and the answer with the end of its turn and nothing after it", async () => {
	const renderPrompt: WriteTrainerDataOptions["renderPrompt"] = (turns) =>
		turns
			.map(
				({ role, content }) =>
					`${role}:${typeof content === "string" ? content : content.map((part) => (part.type === "image" ? "[]" : part.text)).join("")}`,
			)
			.join("\n");
	const { rows } = await written([pair], { layout: "trl", renderPrompt });
	expect(rows).toEqual([
		{
			prompt: "user:**Image 1:** []\n**Image 2:** []\nCaption: <| im_end|> a cat",
			completion: "<answer>Image 1 is better</answer><|im_end|>",
			images: [resolve("a.png"), resolve("b.png")],
		},
	]);
	await expect(written([talk], { layout: "trl", renderPrompt })).rejects.toThrow(
		/conversation 0: expected one answer, the last turn .*got "system, human, gpt, human, gpt"/,
	);
});

it("LightRFT: the question without the header that its handler puts there itself", async () => {
	const { rows } = await written([pair], { layout: "lightrft" });
	expect(rows).toEqual([
		{
			conversations: [{ from: "human", value: "Caption: <| im_end|> a cat" }, pair.conversations[1]],
			images: [resolve("a.png"), resolve("b.png")],
			source: "imagegen-cot-reward-5k",
		},
	]);
	await expect(written([pair, talk], { layout: "lightrft" })).rejects.toThrow(/conversation 1: expected a question about two images/);
	const other = { ...pair, conversations: [{ from: "human" as const, value: "<image> or <image>?" }, pair.conversations[1]] };
	await expect(written([other], { layout: "lightrft" })).rejects.toThrow(/each image announced by its number/);
});

it("leaves no file where a row can't be written, and no image from outside the root", async () => {
	const folder = join(scratch, "none");
	async function* rows(images: string[]) {
		yield { ...pair, images };
	}
	await expect(writeTrainerData(folder, rows(["../a.png", "b.png"]), { layout: "llama-factory", dataRoot: "photos" })).rejects.toThrow(
		/conversation 0: image \.\.\/a\.png lies outside the data root/,
	);
	expect(await readdir(folder)).toEqual([]);
	const shown = { ...pair, conversations: [pair.conversations[0], { from: "gpt" as const, value: "<image>" }] };
	await expect(written([shown], { layout: "llama-factory" })).rejects.toThrow(/no <image> in an answer/);
});
