/** How long conversations are, for a training plan: some of them are encoded, among them those with the most text. */
import type { Processor } from "../model/generative-model.js";
import { countLabels, encodeRow } from "./collate.js";
import { IMAGE_PLACEHOLDER, type ShareGptConversation } from "./sharegpt.js";

/** Characters of a token, where there is no tokenizer to ask: English under Qwen's vocabulary. */
const CHARACTERS_PER_TOKEN = 4;

export interface SurveyRowsOptions {
	/** Image paths are relative to it. Default: paths as they are. */
	dataRoot?: string;
	/** Most rows that are encoded. Default 32. */
	sample?: number;
	/** Without a processor: tokens of an image. Default 256. */
	tokensPerImage?: number;
	/** Longer rows are not trained on. Default: none is too long. */
	promptMaxLen?: number;
}

/** As planTraining takes it. */
export interface RowSurvey {
	rows: number;
	longestRow: number;
	meanRow: number;
	labelledPerRow: number;
	imagesPerRow: number;
	tokensPerImage: number;
	/** Rows that were encoded; 0 where lengths are estimated from the characters of the text. */
	encoded: number;
}

/**
 * @param processor of the model; without one (a config.json alone) lengths are estimated
 * @throws for no rows, none that can be encoded, or a row that contradicts itself
 */
export async function surveyRows(
	source: Iterable<ShareGptConversation> | AsyncIterable<ShareGptConversation>,
	processor: Processor | undefined,
	{ dataRoot, sample = 32, tokensPerImage = 256, promptMaxLen = Number.POSITIVE_INFINITY }: SurveyRowsOptions = {},
): Promise<RowSurvey> {
	const rows: ShareGptConversation[] = [];
	for await (const row of source) rows.push(row);
	if (rows.length === 0) throw new Error("surveyRows: expected at least one conversation, got none");
	const measured = processor
		? await encodeSome(rows, processor, { dataRoot, sample, promptMaxLen })
		: rows.map((row) => estimate(row, tokensPerImage));
	const mean = (of: (row: Measured) => number) => measured.reduce((sum, row) => sum + of(row), 0) / measured.length;
	const images = mean((row) => row.images);
	return {
		rows: rows.length,
		longestRow: Math.min(promptMaxLen, Math.max(...measured.map(({ tokens }) => tokens))),
		meanRow: mean(({ tokens }) => tokens),
		labelledPerRow: mean(({ labelled }) => labelled),
		imagesPerRow: images,
		tokensPerImage: images === 0 ? 0 : mean(({ imageTokens }) => imageTokens) / images,
		encoded: processor ? measured.length : 0,
	};
}

interface Measured {
	tokens: number;
	labelled: number;
	images: number;
	imageTokens: number;
}

const textLength = (row: ShareGptConversation) => row.conversations.reduce((sum, { value }) => sum + value.length, 0);

async function encodeSome(
	rows: readonly ShareGptConversation[],
	processor: Processor,
	{ dataRoot, sample, promptMaxLen }: { dataRoot?: string; sample: number; promptMaxLen: number },
): Promise<Measured[]> {
	const byText = rows.map((row, i) => ({ row, i })).sort((a, b) => textLength(b.row) - textLength(a.row));
	const every = Math.max(1, Math.floor(byText.length / sample));
	const measured: Measured[] = [];
	for (const { row, i } of byText.filter((_, at) => at % every === 0).slice(0, sample)) {
		const one = await encodeRow(row, i, processor, { dataRoot, maxLength: promptMaxLen });
		if (!("encoded" in one)) continue;
		const { inputIds, images } = one.encoded;
		const patches = images.reduce((sum, { gridThw: [t, h, w] }) => sum + t * h * w, 0);
		measured.push({
			tokens: inputIds.length,
			labelled: countLabels(one.encoded),
			images: images.length,
			imageTokens: patches / MERGED,
		});
	}
	if (measured.length === 0) throw new Error(`surveyRows: none of ${sample} conversations can be trained on; \`train\` says why of each`);
	return measured;
}

/** Patches of an image token: 2 × 2 in every Qwen vision-language model. */
const MERGED = 4;

function estimate(row: ShareGptConversation, tokensPerImage: number): Measured {
	const images = row.images.length;
	const tokensOf = (text: string) => Math.ceil(text.replaceAll(IMAGE_PLACEHOLDER, "").length / CHARACTERS_PER_TOKEN);
	const text = row.conversations.reduce((sum, { value }) => sum + tokensOf(value), 0);
	const labelled = row.conversations.reduce((sum, { from, value }) => sum + (from === "gpt" ? tokensOf(value) : 0), 0);
	return { tokens: text + images * tokensPerImage, labelled, images, imageTokens: images * tokensPerImage };
}
