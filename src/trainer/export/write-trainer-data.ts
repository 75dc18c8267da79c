/**
 * Conversations as another trainer reads them, one file and what it needs beside it: the training set of `train`, handed over.
 *
 * - LLaMA-Factory: ShareGPT with `<image>` in the text, dataset_info.json beside it. It trains on every gpt turn.
 * - TRL: `prompt` and `completion`, as texts that the chat template has made. Of `messages` it would learn the question, too, and of turns the line
 *   break that the template puts after an answer, which no judge ever says: texts have the loss of this library's trainer to the digit.
 * - LightRFT's imagegen-cot-reward-5k: question and answer, two images; its handler shows them after the text.
 *
 * Image paths become absolute, and what a caption or a judge wrote is never a control token, as in `writeExports`.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { writeJsonArray } from "../../files/write-json-rows.js";
import { writeText } from "../../files/write-text.js";
import type { Message } from "../../model/generative-model.js";
import { conversationMessages, refuseLinksOut } from "../conversation-messages.js";
import { IMAGE_PLACEHOLDER, PAIR_HEADER, type ShareGptConversation } from "../sharegpt.js";
import { datasetInfo } from "./dataset-info.js";
import type { ExportLayout } from "./layouts.js";
import { withoutControlTokens } from "./training-rows.js";

/** Layouts that a whole trainer is handed. */
export type TrainerDataLayout = Exclude<ExportLayout, "ms-swift">;

export interface WriteTrainerDataOptions {
	layout: TrainerDataLayout;
	/** As `Trainer`'s: images are relative to it and may not lie outside. Default: paths are relative to the working directory. */
	dataRoot?: string;
	/** TRL's chat template: the text of these turns, an assistant's opened after them. */
	renderPrompt?: (turns: { role: Message["role"]; content: string | ({ type: "text"; text: string } | { type: "image" })[] }[]) => string;
}

/** A turn, with `<image>` where its images are. */
interface Turn {
	role: Message["role"];
	text: string;
}

type ToRow = (turns: readonly Turn[], images: string[], where: string, options: WriteTrainerDataOptions) => object;

/** Ends a turn in the chat format of every model that is loaded here. */
const TURN_END = "<|im_end|>";

const FROM = { system: "system", user: "human", assistant: "gpt" } as const;

const TO_ROW: Readonly<Record<TrainerDataLayout, ToRow>> = {
	"llama-factory": llamaFactoryRow,
	trl: trlRow,
	lightrft: lightRftRow,
};

/**
 * Writes `train.json` into `folder`, and for LLaMA-Factory `dataset_info.json`, in which it is `rft_sft`.
 * @param folder holds nothing else that a trainer would read; it is made
 * @returns the number of rows
 * @throws Error for a conversation that the trainer can't be given, by its number; then no file is left
 */
export async function writeTrainerData(
	folder: string,
	conversations: AsyncIterable<ShareGptConversation>,
	options: WriteTrainerDataOptions,
): Promise<number> {
	const { layout } = options;
	await mkdir(folder, { recursive: true });
	const count = await writeJsonArray(path.join(folder, "train.json"), rowsOf(conversations, options));
	if (layout === "llama-factory") await writeText(path.join(folder, "dataset_info.json"), datasetInfo({ sft: "train.json" }));
	return count;
}

async function* rowsOf(conversations: AsyncIterable<ShareGptConversation>, options: WriteTrainerDataOptions) {
	const { layout, dataRoot } = options;
	let number = 0;
	for await (const conversation of conversations) {
		const where = `conversation ${number++}`;
		const messages = conversationMessages(conversation, where, dataRoot);
		if (dataRoot !== undefined) await refuseLinksOut(conversation, where, dataRoot);
		const images = messages.flatMap(({ content }) =>
			typeof content === "string" ? [] : content.flatMap((part) => (part.type === "image" ? [path.resolve(String(part.image))] : [])),
		);
		yield TO_ROW[layout](messages.map(toTurn), images, where, options);
	}
}

function toTurn({ role, content }: Message): Turn {
	if (typeof content === "string") return { role, text: withoutControlTokens(content) };
	return { role, text: content.map((part) => (part.type === "image" ? IMAGE_PLACEHOLDER : withoutControlTokens(part.text))).join("") };
}

function llamaFactoryRow(turns: readonly Turn[], images: string[], where: string) {
	const [first, ...others] = turns;
	const spoken = first?.role === "system" ? others : turns;
	const alternate = spoken.length % 2 === 0 && spoken.every(({ role }, i) => role === (i % 2 === 0 ? "user" : "assistant"));
	if (!alternate) throw refusal(where, "human and gpt turns by turns, ending with gpt", rolesOf(turns));
	const answered = turns.find(({ role, text }) => role === "assistant" && text.includes(IMAGE_PLACEHOLDER));
	if (answered)
		throw refusal(where, `no ${IMAGE_PLACEHOLDER} in an answer: LLaMA-Factory would show an image there`, answered.text.slice(0, 80));
	return { conversations: turns.map(({ role, text }) => ({ from: FROM[role], value: text })), images };
}

function trlRow(turns: readonly Turn[], images: string[], where: string, { renderPrompt }: WriteTrainerDataOptions) {
	const answers = turns.filter(({ role }) => role === "assistant").length;
	const last = turns.at(-1);
	if (answers !== 1 || last?.role !== "assistant")
		throw refusal(where, "one answer, the last turn (TRL learns one completion a row)", rolesOf(turns));
	if (!renderPrompt) throw new Error("writeTrainerData: expected renderPrompt for TRL, the checkpoint's chat template; got none");
	const asked = turns.slice(0, -1).map(({ role, text }) => ({ role, content: role === "user" ? partsOf(text) : text }));
	return { prompt: renderPrompt(asked), completion: `${last.text}${TURN_END}`, images };
}

function lightRftRow(turns: readonly Turn[], images: string[], where: string) {
	const [asked, said] = turns;
	if (rolesOf(turns) !== "human, gpt" || images.length !== 2)
		throw refusal(
			where,
			"a question about two images and its answer (LightRFT's imagegen-cot-reward-5k)",
			`${rolesOf(turns)}, ${images.length} images`,
		);
	if (!asked.text.startsWith(PAIR_HEADER))
		throw refusal(where, "each image announced by its number before the question: LightRFT shows them so", asked.text.slice(0, 80));
	const value = asked.text.slice(PAIR_HEADER.length);
	return {
		conversations: [
			{ from: "human", value },
			{ from: "gpt", value: said.text },
		],
		images,
		source: "imagegen-cot-reward-5k",
	};
}

function partsOf(text: string): ({ type: "text"; text: string } | { type: "image" })[] {
	return text
		.split(IMAGE_PLACEHOLDER)
		.flatMap((piece, i) => [
			...(i === 0 ? [] : [{ type: "image" as const }]),
			...(piece === "" ? [] : [{ type: "text" as const, text: piece }]),
		]);
}

const rolesOf = (turns: readonly Turn[]) => turns.map(({ role }) => FROM[role]).join(", ");

const refusal = (where: string, expected: string, got: string) =>
	new Error(`${where}: expected ${expected}, got ${JSON.stringify(got)}; correct the row or remove it`);
