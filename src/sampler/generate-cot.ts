/**
 * Samples judgements: records in, rollouts out, in the records' order and, within a record, in that of the samples.
 *
 * Rows are drawn as there is room for them (`generateStream`), across records, while the next records' images are decoded. None of this shows in the
 * results: a rollout's random stream comes from its own seed (`rolloutSeed`), and rollouts are put back in order before they are yielded.
 * With a journal, what is in it is not drawn again; see RolloutLedger.
 */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { GenerateStreamOptions, GenerativeModel, RepetitionDetection } from "../model/generative-model.js";
import { encodeRecords } from "./encode-records.js";
import { generateInBatches } from "./generate-in-batches.js";
import type { Journal } from "./journal.js";
import { differencesOf, type JournalConfiguration } from "./journal-configuration.js";
import { JournalError } from "./journal-error.js";
import { keyMaker } from "./journal-key.js";
import { ANSWERS, checkTemplate, DEFAULT_COT_PROMPT, DEFAULT_NO_COT_PROMPT } from "./prompt.js";
import type { Rollout } from "./rollout.js";
import { type LedgerOptions, RolloutLedger } from "./rollout-ledger.js";
import { progressCounter, type SamplingProgress } from "./sampling-progress.js";

/** Of the options that texts depend on: what is drawn with and what a journal is of must be the same. */
const DEFAULTS = { maxNewTokens: 2048, temperature: 1, seed: 0 };

export interface GenerateCotOptions {
	/** Rows generated together. Default 32. */
	batchSize?: number;
	/** Most tokens to generate per rollout. Default 2048. */
	maxNewTokens?: number;
	/** Rollouts per record (and shown order): of all alike, or of each, where 0 leaves a record out. Default 1. */
	samplesPerRecord?: number | ((record: PreferenceRecord) => number);
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
	/** Ends a rollout that says the same again and again, with finishReason `repetition`. Default: none is ended. */
	repetitionDetection?: RepetitionDetection;
	/** Most tokens before `</think>`: a rollout that reaches it is made to close its reasoning and to answer, and is marked `forced`. Default: no limit but `maxNewTokens`. */
	thinkingBudget?: number;
	/** After `<answer>` let nothing come but "Image 1 is better" or "Image 2 is better" (and `</answer>`). Default false. */
	constrainAnswers?: boolean;
	/** Give each rollout the probabilities of both answers at its answer (`Rollout.score`). Default false. */
	score?: boolean;
	/** The run's seed, a whole number. Default 0. */
	seed?: number;
	/** Ask for reasoning before the answer: picks the default template. Default true. */
	useCot?: boolean;
	/** The question, `{prompt}` where the caption goes. From a file: `readPromptTemplate`. */
	promptTemplate?: string;
	/** Stops between two decode steps; the iteration then throws the signal's reason. */
	signal?: AbortSignal;
	/** Ends early and whole: once aborted no more samples are begun, those under way are finished, and the iteration ends. */
	drain?: AbortSignal;
	/**
	 * Rollouts that are in it are not drawn; new ones are in it, on the disk, before they are yielded. Opened by the caller with
	 * `cotConfiguration` of these options. Rollouts with errors are not in it: they are tried again.
	 */
	journal?: Journal;
	/** Called after every rollout and every decode step. */
	onProgress?: (progress: SamplingProgress) => void;
}

/**
 * @throws RangeError at once for options out of range, JournalError for a journal of others. While iterating: what `records` throws; the signal's reason; an Error that
 *   names the first rollout under way if the model fails. A record that can't be encoded throws nothing: its rollouts have finishReason `error`.
 */
export function generateCoT(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	model: GenerativeModel,
	options: GenerateCotOptions = {},
): AsyncGenerator<Rollout> {
	const {
		batchSize = 32,
		maxNewTokens = DEFAULTS.maxNewTokens,
		samplesPerRecord = 1,
		temperature = DEFAULTS.temperature,
		topP,
		topK,
		minP,
		repetitionPenalty,
		repetitionDetection,
		thinkingBudget,
		constrainAnswers = false,
		score = false,
		seed = DEFAULTS.seed,
		useCot = true,
		promptTemplate = useCot ? DEFAULT_COT_PROMPT : DEFAULT_NO_COT_PROMPT,
		signal,
		drain,
		journal,
		onProgress,
	} = options;
	checkOptions({ batchSize, maxNewTokens, temperature, topP, topK, minP, repetitionPenalty, seed });
	checkGuiding({ repetitionDetection, thinkingBudget, maxNewTokens, useCot });
	checkTemplate(promptTemplate);
	if (journal) checkJournal(journal, options);
	const sampling: GenerateStreamOptions = {
		...{ batchSize, maxNewTokens, temperature, topP, topK, minP, repetitionPenalty, signal },
		...guiding({ repetitionDetection, thinkingBudget, constrainAnswers, score }),
	};
	const samplesOf = samplesOfEach(samplesPerRecord, temperature);
	const total = Array.isArray(records) ? records.reduce((sum: number, record) => sum + samplesOf(record), 0) : undefined;
	const progress = progressCounter(total, onProgress);
	return sampleRecords(records, model, { template: promptTemplate, samplesOf, batchSize, sampling, seed, progress, journal, drain });
}

/** The options that texts do not depend on. */
type Indifferent = "batchSize" | "samplesPerRecord" | "signal" | "drain" | "onProgress" | "journal" | "useCot" | "promptTemplate";

/**
 * The configuration of a journal for `generateCoT` with these options: every option that texts depend on, defaults filled in.
 * @param judge what the model and the processor are; `checkpointDigest` says it of a folder
 */
export function cotConfiguration(
	judge: Pick<JournalConfiguration, "model" | "processor">,
	{ useCot = true, promptTemplate = useCot ? DEFAULT_COT_PROMPT : DEFAULT_NO_COT_PROMPT, ...options }: GenerateCotOptions = {},
): JournalConfiguration {
	const { batchSize, samplesPerRecord, signal, drain, onProgress, journal, ...sampling } = options;
	const { repetitionDetection: repetition } = sampling;
	const given: Record<keyof Omit<GenerateCotOptions, Indifferent>, string | number | boolean | undefined> = {
		maxNewTokens: sampling.maxNewTokens ?? DEFAULTS.maxNewTokens,
		temperature: sampling.temperature ?? DEFAULTS.temperature,
		seed: sampling.seed ?? DEFAULTS.seed,
		...{ topP: sampling.topP, topK: sampling.topK, minP: sampling.minP, repetitionPenalty: sampling.repetitionPenalty },
		repetitionDetection:
			repetition && `${repetition.minPatternSize ?? 1} to ${repetition.maxPatternSize} tokens, ${repetition.minCount} times`,
		...{
			thinkingBudget: sampling.thinkingBudget,
			constrainAnswers: sampling.constrainAnswers || undefined,
			score: sampling.score || undefined,
		},
	};
	const set = Object.entries(given).filter((pair): pair is [string, string | number | boolean] => pair[1] !== undefined);
	return { model: judge.model, processor: judge.processor, promptTemplate, sampling: Object.fromEntries(set) };
}

/** @throws JournalError `mismatch` where the journal was opened for other options than these */
function checkJournal({ file, header: { configuration } }: Journal, options: GenerateCotOptions): void {
	const differences = differencesOf(configuration, cotConfiguration(configuration, options));
	if (differences.length === 0) return;
	const wayOut = "open it with cotConfiguration of the options that generateCoT is given";
	throw new JournalError("mismatch", `${file}: is of another configuration:\n  ${differences.join("\n  ")}\n${wayOut}`, { differences });
}

interface SamplingRun extends LedgerOptions {
	template: string;
	sampling: GenerateStreamOptions;
}

async function* sampleRecords(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	model: GenerativeModel,
	run: SamplingRun,
): AsyncGenerator<Rollout> {
	const { template, journal, samplesOf } = run;
	const stop = new AbortController();
	const { signal } = run.sampling;
	const ends = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
	const keys = journal && keyMaker(journal.digest);
	const keysOf = keys && ((record: PreferenceRecord) => keys(record, samplesOf(record)));
	const isStored = (key: string) => journal?.has(key) === true;
	const encoded = encodeRecords(records, model.processor, { template, stop: ends, keysOf, isStored });
	const ledger = new RolloutLedger(encoded, run);
	const options = { ...run.sampling, onStep: run.progress.step };
	try {
		while (!ledger.ended) {
			const requests = ledger.requests();
			const samples = model.generateStream ? model.generateStream(requests, options) : generateInBatches(model, requests, options);
			for await (const sample of samples) {
				await ledger.enter(sample);
				let goesOn = false;
				try {
					yield* ledger.takeReady();
					goesOn = true;
				} finally {
					if (!goesOn) stop.abort(); // before the samples are closed, which waits for the requests that are under way
				}
			}
			signal?.throwIfAborted(); // the records end early then, as if there were no more
			await ledger.settle();
			ledger.endPass();
			yield* ledger.takeReady();
		}
	} catch (error) {
		await ledger.settle();
		yield* ledger.takeReady();
		if (signal?.aborted || error === ledger.sourceFailure) throw error;
		throw ledger.modelError(error);
	} finally {
		stop.abort();
		if (!signal?.aborted) await encoded.return(undefined); // the records are closed when the iteration has ended
		await ledger.settle();
	}
}

type Guiding = Pick<GenerateCotOptions, "repetitionDetection" | "thinkingBudget" | "constrainAnswers" | "score">;

/** What the model is told of it; nothing where nothing is asked for. */
function guiding({ repetitionDetection, thinkingBudget, constrainAnswers, score }: Guiding): Partial<GenerateStreamOptions> {
	const answers = { texts: ANSWERS, ...(constrainAnswers && { only: true }), ...(score && { score: true }) };
	const guided = constrainAnswers || score || thinkingBudget !== undefined;
	return {
		...(repetitionDetection && { repetitionDetection }),
		...(thinkingBudget !== undefined && { thinkingBudget }),
		...(guided && { answers }),
	};
}

type Checked = Required<Pick<GenerateCotOptions, "batchSize" | "maxNewTokens" | "temperature" | "seed">> &
	Pick<GenerateCotOptions, "topP" | "topK" | "minP" | "repetitionPenalty">;

function checkOptions(options: Checked): void {
	const { batchSize, maxNewTokens, temperature, topP = 1, topK = 0, minP = 0, repetitionPenalty = 1, seed } = options;
	const check = (name: string, value: number, ok: boolean, expected: string) => {
		if (!ok) throw new RangeError(`generateCoT: ${name}: expected ${expected}, got ${value}`);
	};
	check("batchSize", batchSize, Number.isInteger(batchSize) && batchSize >= 1, "a whole number, 1 or more");
	check("maxNewTokens", maxNewTokens, Number.isInteger(maxNewTokens) && maxNewTokens >= 1, "a whole number, 1 or more");
	check("temperature", temperature, Number.isFinite(temperature) && temperature >= 0, "0 (greedy) or more");
	check("topP", topP, topP > 0 && topP <= 1, "a number in (0, 1]");
	check("topK", topK, Number.isInteger(topK) && topK >= 0, "a whole number, 0 (all) or more");
	check("minP", minP, minP >= 0 && minP <= 1, "a number from 0 to 1");
	check("repetitionPenalty", repetitionPenalty, Number.isFinite(repetitionPenalty) && repetitionPenalty > 0, "a number above 0");
	check("seed", seed, Number.isSafeInteger(seed), "a whole number");
}

/** @throws RangeError for a number out of range: at once where it is the same of all or the records are an array, otherwise when the record's turn comes */
function samplesOfEach(
	samples: NonNullable<GenerateCotOptions["samplesPerRecord"]>,
	temperature: number,
): (record: PreferenceRecord) => number {
	const checked = (value: number, least: number) => {
		const wrong = (expected: string) => new RangeError(`generateCoT: samplesPerRecord: expected ${expected}, got ${value}`);
		if (!Number.isInteger(value) || value < least) throw wrong(`a whole number, ${least} or more`);
		if (value > 1 && temperature === 0) throw wrong("1 with temperature 0 (all would be equal)");
		return value;
	};
	if (typeof samples === "function") return (record) => checked(samples(record), 0);
	checked(samples, 1);
	return () => samples;
}

function checkGuiding({
	repetitionDetection,
	thinkingBudget,
	maxNewTokens,
	useCot,
}: Pick<GenerateCotOptions, "repetitionDetection" | "thinkingBudget"> & { maxNewTokens: number; useCot: boolean }): void {
	const wrong = (name: string, expected: string, got: unknown) => {
		throw new RangeError(`generateCoT: ${name}: expected ${expected}, got ${got}`);
	};
	if (repetitionDetection) {
		const { minPatternSize: min = 1, maxPatternSize: max, minCount } = repetitionDetection;
		const whole = [min, max, minCount].every(Number.isInteger);
		if (!whole || min < 1 || max < min || minCount < 2)
			wrong(
				"repetitionDetection",
				"whole numbers, 1 ≤ minPatternSize ≤ maxPatternSize and minCount ≥ 2",
				JSON.stringify(repetitionDetection),
			);
	}
	if (thinkingBudget === undefined) return;
	if (!useCot) wrong("thinkingBudget", "none without reasoning (useCot: false)", thinkingBudget);
	if (!Number.isInteger(thinkingBudget) || thinkingBudget < 1 || thinkingBudget >= maxNewTokens)
		wrong("thinkingBudget", `a whole number from 1, less than maxNewTokens (${maxNewTokens})`, thinkingBudget);
}
