/** `generate`: a batch of left-padded prompts in, one text per row out. A batch is a stream whose requests are all there. */
import type { EncodedConversation, GeneratedSample, GenerateOptions, GenerateResult, ModelInputs } from "../generative-model.js";
import { checkRepetitionDetection } from "../repetition-detector.js";
import { generateStream } from "./generate-stream.js";
import type { Passes } from "./passes.js";
import { gridsOf } from "./prepare.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";

/** @throws RangeError for options out of range; the signal's reason */
export async function generate(
	model: Qwen2_5VLModel,
	passes: Passes,
	inputs: ModelInputs,
	{ promptOfRow, seeds, ...options }: GenerateOptions,
): Promise<GenerateResult> {
	const batch = inputs.inputIds.shape[0];
	checkSampling(options);
	checkRows(inputs, { promptOfRow, seeds });
	const promptOf = promptOfRow ?? [...Array(batch).keys()];
	if (promptOf.length === 0) return { tokens: [], texts: [], finishReasons: [] };
	const rowsOf = Array.from({ length: batch }, (): number[] => []);
	for (const [row, prompt] of promptOf.entries()) rowsOf[prompt].push(row);
	const asked = rowsOf.flatMap((rows, prompt) => (rows.length > 0 ? [{ rows, prompt }] : []));
	const prompts = splitBatch(inputs, model);
	const requests = asked.map(({ rows, prompt }) => ({ encoded: prompts[prompt], seeds: rows.map((row) => seeds?.[row] ?? row) }));
	const samples = new Array<GeneratedSample>(promptOf.length);
	for await (const done of generateStream(model, passes, requests, { ...options, batchSize: promptOf.length })) {
		samples[asked[done.request].rows[done.sample]] = done;
	}
	return {
		tokens: samples.map(({ tokens }) => tokens),
		texts: samples.map(({ text }) => text),
		finishReasons: samples.map(({ finishReason }) => finishReason),
		...(samples.some(({ forced }) => forced) && { forced: samples.map(({ forced }) => forced) }),
		...(options.answers?.score && { answerLogProbs: samples.map(({ answerLogProbs }) => answerLogProbs) }),
	};
}

const wrong = (what: string, expected: string, got: unknown) => {
	throw new RangeError(`generate: ${what} must be ${expected}, got ${got}`);
};

/** @throws RangeError */
export function checkSampling({
	maxNewTokens = 1,
	temperature = 0,
	topP = 1,
	minP = 0,
	repetitionPenalty = 1,
	batchSize = 1,
	repetitionDetection,
	answers,
	thinkingBudget,
}: GenerateOptions & { batchSize?: number }): void {
	if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) wrong("maxNewTokens", "a positive integer", maxNewTokens);
	if (!Number.isInteger(batchSize) || batchSize < 1) wrong("batchSize", "a positive integer", batchSize);
	if (!(temperature >= 0)) wrong("temperature", "0 (greedy) or more", temperature);
	if (!(topP > 0 && topP <= 1)) wrong("topP", "in (0, 1]", topP);
	if (!(minP >= 0 && minP <= 1)) wrong("minP", "in [0, 1]", minP);
	if (!(repetitionPenalty > 0)) wrong("repetitionPenalty", "positive", repetitionPenalty);
	if (repetitionDetection) checkRepetitionDetection(repetitionDetection);
	if (answers && (answers.texts.length === 0 || answers.texts.includes("")))
		wrong("answers.texts", "one text or more, none empty", answers.texts);
	if (thinkingBudget === undefined) return;
	if (!Number.isInteger(thinkingBudget) || thinkingBudget < 1) wrong("thinkingBudget", "a positive integer", thinkingBudget);
	if (!answers) wrong("thinkingBudget", "given with answers, whose opening is forced", "it without");
}

function checkRows({ inputIds, attentionMask }: ModelInputs, { promptOfRow, seeds }: Pick<GenerateOptions, "promptOfRow" | "seeds">): void {
	const [batch, length] = inputIds.shape;
	const rows = promptOfRow?.length ?? batch;
	if (seeds && seeds.length !== rows) wrong("seeds", `one per row (${rows})`, `${seeds.length}`);
	const stray = promptOfRow?.find((p) => !(Number.isInteger(p) && p >= 0 && p < batch));
	if (stray !== undefined) wrong("promptOfRow", `row numbers of the inputs, 0 to ${batch - 1}`, stray);
	for (let b = 0; b < batch; b++) {
		if (!attentionMask.data[(b + 1) * length - 1])
			wrong(`row ${b}`, "padded on the left, to be continued on the right", "padding at its end");
	}
}

/** The rows of a batch without their padding, each with its images. @throws where images are left over */
function splitBatch(
	{ inputIds, attentionMask, pixelValues, imageGridThw }: ModelInputs,
	{ config }: Qwen2_5VLModel,
): EncodedConversation[] {
	const [batch, length] = inputIds.shape;
	const merge = config.vision.spatialMergeSize ** 2;
	const grids = gridsOf(imageGridThw);
	let [image, patch] = [0, 0];
	const rows = Array.from({ length: batch }, (_, b) => {
		const ids = inputIds.data.subarray(b * length, (b + 1) * length).filter((_, t) => attentionMask.data[b * length + t]);
		const images: EncodedConversation["images"] = [];
		for (let left = ids.filter((id) => id === config.imageTokenId).length; left > 0 && image < grids.length; image++) {
			const [t, h, w] = grids[image];
			const width = pixelValues?.shape[1] ?? 0;
			const data = pixelValues?.data.subarray(patch * width, (patch + t * h * w) * width) ?? new Float32Array();
			images.push({ pixelValues: { data, shape: [t * h * w, width] }, gridThw: [t, h, w] });
			patch += t * h * w;
			left -= (t * h * w) / merge;
		}
		return { inputIds: ids, assistantMask: new Uint8Array(ids.length), images };
	});
	if (image < grids.length) {
		throw new Error(`generate: ${grids.length} images were given, but the token ids have placeholders for ${image}; leave the others out`);
	}
	return rows;
}
