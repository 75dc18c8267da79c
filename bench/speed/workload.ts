/**
 * The checkpoint and the prompts that both sides run, in one temporary folder per configuration and dtype.
 *
 * Weights are random (they cost the same as trained ones). The tokenizer is the bundled judge's, so the configuration's special tokens are set to
 * its ids; every other id of the larger vocabulary is sampled and decoded to nothing. Images are the demo's held-out pairs, all different, scaled to
 * 280 × 280 by each side's own image processor. workload.json holds token ids and image paths for the peer, which tokenizes nothing.
 */
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
	type EncodedConversation,
	fillTemplate,
	initModel,
	judgeMessages,
	loadDataset,
	loadProcessor,
	type PreferenceRecord,
	type Processor,
	shownImages,
} from "../../src/index.js";
import {
	type Config,
	LABELLED_TOKENS,
	LONGEST_TEXT,
	MAX_NEW_TOKENS,
	PROMPT_TOKENS,
	PROMPTS,
	RECORDS,
	TRAINING_ROWS,
	TRAINING_TOKENS,
} from "./settings.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const JUDGE = here("../../examples/judge");
const PAIRS = here("../../examples/data/heldout.json");
const IMAGE_PIXELS = 280 * 280;
const IMAGE_TOKENS = 100;
/** Tokens of the judge's vocabulary that are plain text. */
const TEXT_IDS = 490;

/** A row for the peer, and for us. */
export interface WorkloadRow {
	ids: number[];
	images: string[];
}
export interface Workload {
	prompts: WorkloadRow[];
	training: WorkloadRow[];
	labelled: number;
	/** The pipeline's records, as `generateCoT` asks about them with `RECORD_TEMPLATE`. */
	records: WorkloadRow[];
	/** One long text without images. */
	text: number[];
}

/** The question of the pipeline's records, long enough for prompts of about 300 tokens. */
export const RECORD_TEMPLATE = `Caption: {prompt}\n${"Which image is better? Look at the objects, their number and their colours. ".repeat(2)}`;

/** The first held-out pairs, all of different images. */
export async function loadRecords(limit: number): Promise<PreferenceRecord[]> {
	const records: PreferenceRecord[] = [];
	for await (const record of loadDataset(`hpdv3:${PAIRS}`, { limit })) records.push(record);
	return records;
}

/** The folder's place; it is whole once it has a workload.json. */
export function workloadFolder(config: string, dtype: "float32" | "bfloat16"): string {
	return join(tmpdir(), "tfjs-rft-bench", `${config}-${dtype}`);
}

export async function readWorkload(folder: string): Promise<Workload> {
	return JSON.parse(await readFile(join(folder, "workload.json"), "utf8")) as Workload;
}

/**
 * Writes the folder unless it is there.
 * @param layers decoder layers, where they are not the configuration's (bench/growth.ts)
 */
export async function writeWorkload(config: Config, dtype: "float32" | "bfloat16", folder: string, layers?: number): Promise<void> {
	if (existsSync(join(folder, "workload.json"))) return;
	await mkdir(join(folder, ".."), { recursive: true });
	const bare = await mkdtemp(join(tmpdir(), "tfjs-rft-bench-"));
	try {
		await writeBareFolder(config, bare, layers);
		const unfinished = `${folder}.unfinished`;
		const model = await initModel(bare, { backend: "native-cpu" });
		await model.save(unfinished, { dtype });
		await model[Symbol.asyncDispose]();
		await writeFile(join(unfinished, "workload.json"), JSON.stringify(await composeWorkload(bare)));
		await rename(unfinished, folder);
	} finally {
		await rm(bare, { recursive: true });
	}
}

/** Everything of a checkpoint but the weights. */
async function writeBareFolder(config: Config, folder: string, layers?: number): Promise<void> {
	const readJson = async (file: string) => JSON.parse(await readFile(file, "utf8"));
	for (const file of ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "chat_template.jinja"]) {
		await cp(join(JUDGE, file), join(folder, file));
	}
	const judge = await readJson(join(JUDGE, "config.json"));
	const model = await readJson(here(`../peer/configs/${config}.json`));
	for (const token of ["vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"]) model[token] = judge[token];
	if (layers !== undefined) model.text_config.num_hidden_layers = layers;
	const vocabulary: number = model.text_config.vocab_size;
	const ends: number[] = [];
	for (let id = judge.vocab_size; id < vocabulary; id += MAX_NEW_TOKENS) ends.push(id);
	const images = await readJson(join(JUDGE, "preprocessor_config.json"));
	const files = {
		"config.json": model,
		"generation_config.json": { eos_token_id: ends, pad_token_id: judge.bos_token_id },
		"preprocessor_config.json": { ...images, min_pixels: IMAGE_PIXELS, max_pixels: IMAGE_PIXELS },
	};
	for (const [name, json] of Object.entries(files)) await writeFile(join(folder, name), JSON.stringify(json));
}

async function composeWorkload(folder: string): Promise<Workload> {
	const processor = await loadProcessor(folder);
	const ids = await visionIds(folder);
	const records = await loadRecords(RECORDS);
	const pairs = records.map(shownImages);
	const asked = records.map(async (record) => {
		const messages = judgeMessages(shownImages(record), fillTemplate(RECORD_TEMPLATE, record.prompt));
		const { inputIds } = await processor.encodeConversation(messages, { addGenerationPrompt: true });
		return { ids: [...inputIds], images: shownImages(record) };
	});
	const row = (tokens: number) => (images: [string, string]) => ({ ids: promptIds(ids, tokens), images });
	return {
		prompts: pairs.slice(0, PROMPTS).map(row(PROMPT_TOKENS)),
		training: pairs.slice(0, TRAINING_ROWS).map(row(TRAINING_TOKENS)),
		labelled: LABELLED_TOKENS,
		records: await Promise.all(asked),
		text: textIds(LONGEST_TEXT, 0),
	};
}

async function visionIds(folder: string): Promise<{ start: number; image: number; end: number }> {
	const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
	return { start: config.vision_start_token_id, image: config.image_token_id, end: config.vision_end_token_id };
}

const textIds = (count: number, from: number) => Array.from({ length: count }, (_, i) => (((from + i) * 7919) % (TEXT_IDS - 10)) + 10);

/** Text, an image, text, an image, text: `tokens` in all. */
function promptIds({ start, image, end }: { start: number; image: number; end: number }, tokens: number): number[] {
	const text = tokens - 2 * (IMAGE_TOKENS + 2);
	const part = Math.floor(text / 3);
	const picture = [start, ...new Array<number>(IMAGE_TOKENS).fill(image), end];
	return [...textIds(part, 0), ...picture, ...textIds(part, part), ...picture, ...textIds(text - 2 * part, 2 * part)];
}

/** Rows as the processor would give them: the workload's token ids, and its images read and preprocessed. */
export async function encodeRows(processor: Processor, rows: readonly WorkloadRow[], labelled = 0): Promise<EncodedConversation[]> {
	return Promise.all(
		rows.map(async ({ ids, images }) => {
			const inputIds = Int32Array.from(ids);
			const assistantMask = Uint8Array.from(ids, (_, i) => (i >= ids.length - labelled ? 1 : 0));
			if (images.length === 0) return { inputIds, assistantMask, images: [] };
			const read = await processor.encodeConversation(judgeMessages([images[0], images[1]], ""));
			return { inputIds, assistantMask, images: read.images };
		}),
	);
}
