/**
 * Samples judgements: records in, rollouts out, in the records' order and, within a record, in that of the samples.
 *
 * Batches are filled across records. Inside a window of batches rows are sorted by prompt length, so that little is padded; the
 * next window's images are decoded while the current one is generated. None of this shows in the results: a rollout's random
 * stream comes from its own seed (`rolloutSeed`), and windows are put back in order before they are yielded.
 */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { EncodedConversation, GenerateOptions, GenerateResult, GenerativeModel } from "../model/generative-model.js";
import { encodeWindows, type Job } from "./encode-windows.js";
import { checkTemplate, DEFAULT_COT_PROMPT, DEFAULT_NO_COT_PROMPT } from "./prompt.js";
import type { Rollout } from "./rollout.js";
import { type ProgressCounter, progressCounter, type SamplingProgress } from "./sampling-progress.js";
import { rolloutSeed } from "./seed.js";

export interface GenerateCotOptions {
	/** Rows generated together. Default 32. */
	batchSize?: number;
	/** Most tokens to generate per rollout. Default 2048. */
	maxNewTokens?: number;
	/** Rollouts per record (and shown order). Default 1. */
	samplesPerRecord?: number;
	/** 1, the default, samples from the model's own distribution; 0 is greedy. */
	temperature?: number;
	/** Keep the smallest set of tokens whose probability exceeds p. Default: the model's (all). */
	topP?: number;
	/** Keep the k most likely tokens. Default: the model's (all). */
	topK?: number;
	/** Keep the tokens at least so likely as this share of the likeliest. Default: the model's (all). */
	minP?: number;
	/** > 1 makes tokens already in the row less likely. Default: the model's (1). */
	repetitionPenalty?: number;
	/** The run's seed, a whole number. Default 0. */
	seed?: number;
	/** Ask for reasoning before the answer: picks the default template. Default true. */
	useCot?: boolean;
	/** The question, `{prompt}` where the caption goes. From a file: `readPromptTemplate`. */
	promptTemplate?: string;
	/** Stops between two batches or decode steps; the iteration then throws the signal's reason. */
	signal?: AbortSignal;
	/** Called after every batch and every decode step. */
	onProgress?: (progress: SamplingProgress) => void;
}

const WINDOW_BATCHES = 8;

/**
 * @throws RangeError at once for options out of range. While iterating: what `records` throws; the signal's reason; an Error that
 *   names the rows if the model fails. A record that can't be encoded throws nothing: its rollouts have finishReason `error`.
 */
export function generateCoT(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	model: GenerativeModel,
	{
		batchSize = 32,
		maxNewTokens = 2048,
		samplesPerRecord = 1,
		temperature = 1,
		topP,
		topK,
		minP,
		repetitionPenalty,
		seed = 0,
		useCot = true,
		promptTemplate = useCot ? DEFAULT_COT_PROMPT : DEFAULT_NO_COT_PROMPT,
		signal,
		onProgress,
	}: GenerateCotOptions = {},
): AsyncGenerator<Rollout> {
	checkOptions({ batchSize, maxNewTokens, samplesPerRecord, temperature, topP, topK, minP, repetitionPenalty, seed });
	checkTemplate(promptTemplate);
	const sampling: GenerateOptions = { maxNewTokens, temperature, topP, topK, minP, repetitionPenalty, signal };
	const total = Array.isArray(records) ? records.length * samplesPerRecord : undefined;
	const progress = progressCounter(total, onProgress);
	return sampleWindows(records, model, { template: promptTemplate, samplesPerRecord, batchSize, sampling, seed, progress });
}

interface SamplingRun {
	template: string;
	samplesPerRecord: number;
	batchSize: number;
	sampling: GenerateOptions;
	seed: number;
	progress: ProgressCounter;
}

async function* sampleWindows(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	model: GenerativeModel,
	run: SamplingRun,
): AsyncGenerator<Rollout> {
	const stop = new AbortController();
	const shape = { ...run, windowBatches: WINDOW_BATCHES, stop: stop.signal };
	const windows = encodeWindows(records, model.processor, shape);
	/** A failure is thrown where the window is awaited, after the rollouts before it are out; until then it is not unhandled. */
	const startNext = () => {
		const window = windows.next();
		window.catch(() => undefined);
		return window;
	};
	let next = startNext();
	try {
		for (;;) {
			run.sampling.signal?.throwIfAborted();
			const window = await next;
			if (window.done) return;
			next = startNext();
			yield* sampleWindow(window.value, model, run);
		}
	} finally {
		stop.abort();
		await windows.return(undefined);
	}
}

/** Generates a window's jobs in batches of similar length; yields in the jobs' order, each as soon as all before it are done. */
async function* sampleWindow(jobs: Job[], model: GenerativeModel, run: SamplingRun): AsyncGenerator<Rollout> {
	const rollouts = new Array<Rollout | undefined>(jobs.length);
	const rows: Row[] = [];
	for (const [place, job] of jobs.entries()) {
		if ("kind" in job.encoded) {
			rollouts[place] = failedRollout(job, job.encoded, run.seed);
			run.progress.finish(1, 1);
		} else rows.push({ place, job, encoded: job.encoded });
	}
	rows.sort((a, b) => b.encoded.inputIds.length - a.encoded.inputIds.length || a.place - b.place);
	let head = 0;
	for (let from = 0; from < rows.length; from += run.batchSize) {
		const batch = rows.slice(from, from + run.batchSize);
		for (const [i, rollout] of (await generateBatch(batch, model, run)).entries()) rollouts[batch[i].place] = rollout;
		for (let ready = rollouts[head]; ready; ready = rollouts[++head]) yield ready;
	}
	for (let ready = rollouts[head]; ready; ready = rollouts[++head]) yield ready;
}

/** A job that could be encoded, and its place in the window. */
interface Row {
	place: number;
	job: Job;
	encoded: EncodedConversation;
}

async function generateBatch(batch: Row[], model: GenerativeModel, { sampling, seed, progress }: SamplingRun): Promise<Rollout[]> {
	sampling.signal?.throwIfAborted();
	// The samples of a record share its encoding: each prompt is read once, however many rows continue it.
	const prompts = [...new Set(batch.map((row) => row.encoded))];
	const place = new Map(prompts.map((prompt, i) => [prompt, i]));
	const promptOfRow = batch.map((row) => place.get(row.encoded) as number);
	const inputs = model.processor.collate(prompts, { paddingSide: "left" });
	const seeds = batch.map(({ job }) => seedOf(job, seed));
	progress.begin();
	let result: GenerateResult;
	try {
		result = await model.generate(inputs, { ...sampling, seeds, promptOfRow, onStep: progress.step });
	} catch (cause) {
		if (sampling.signal?.aborted) throw cause;
		throw batchError(batch, cause);
	}
	const { tokens, texts, finishReasons } = result;
	progress.end(
		batch.length,
		tokens.reduce((sum, row) => sum + row.length, 0),
	);
	return batch.map(({ job: { record, sampleIndex, promptText } }, i) => {
		const outcome = { completion: texts[i], numTokens: tokens[i].length, finishReason: finishReasons[i] };
		return { record, sampleIndex, seed: seeds[i], promptText, ...outcome };
	});
}

function seedOf({ record, sampleIndex }: Job, runSeed: number): number {
	return rolloutSeed(runSeed, record.key, record.order, sampleIndex);
}

function failedRollout(job: Job, error: NonNullable<Rollout["error"]>, runSeed: number): Rollout {
	const { record, sampleIndex, promptText } = job;
	return { record, sampleIndex, seed: seedOf(job, runSeed), promptText, completion: "", numTokens: 0, finishReason: "error", error };
}

/** A model that fails is the run's failure: the next batch would fare no better, and nothing is known about these rows. */
function batchError(batch: Row[], cause: unknown): Error {
	const { source, key } = batch[0].job.record;
	const longest = batch[0].encoded.inputIds.length;
	const rows = `a batch of ${batch.length} rows, up to ${longest} prompt tokens, first record ${source.row} of ${source.file} (${key})`;
	const reason = cause instanceof Error ? cause.message : String(cause);
	return new Error(`generation failed on ${rows}: ${reason}; if memory ran out, take a smaller batchSize`, { cause });
}

type Checked = Required<Pick<GenerateCotOptions, "batchSize" | "maxNewTokens" | "samplesPerRecord" | "temperature" | "seed">> &
	Pick<GenerateCotOptions, "topP" | "topK" | "minP" | "repetitionPenalty">;

function checkOptions(options: Checked): void {
	const { batchSize, maxNewTokens, samplesPerRecord, temperature, topP = 1, topK = 0, minP = 0, repetitionPenalty = 1, seed } = options;
	const check = (name: string, value: number, ok: boolean, expected: string) => {
		if (!ok) throw new RangeError(`generateCoT: ${name}: expected ${expected}, got ${value}`);
	};
	check("batchSize", batchSize, Number.isInteger(batchSize) && batchSize >= 1, "a whole number, 1 or more");
	check("maxNewTokens", maxNewTokens, Number.isInteger(maxNewTokens) && maxNewTokens >= 1, "a whole number, 1 or more");
	check("samplesPerRecord", samplesPerRecord, Number.isInteger(samplesPerRecord) && samplesPerRecord >= 1, "a whole number, 1 or more");
	check("temperature", temperature, Number.isFinite(temperature) && temperature >= 0, "0 (greedy) or more");
	check("topP", topP, topP > 0 && topP <= 1, "a number in (0, 1]");
	check("topK", topK, Number.isInteger(topK) && topK >= 0, "a whole number, 0 (all) or more");
	check("minP", minP, minP >= 0 && minP <= 1, "a number from 0 to 1");
	check("repetitionPenalty", repetitionPenalty, Number.isFinite(repetitionPenalty) && repetitionPenalty > 0, "a number above 0");
	check("seed", seed, Number.isSafeInteger(seed), "a whole number");
	check("samplesPerRecord", samplesPerRecord, samplesPerRecord === 1 || temperature > 0, "1 with temperature 0 (all would be equal)");
}
