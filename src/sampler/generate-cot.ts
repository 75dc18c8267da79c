/**
 * Samples judgements: records in, rollouts out, in the records' order and, within a record, in that of the samples.
 *
 * Rows are drawn as there is room for them (`generateStream`), across records, while the next records' images are decoded. None of this shows in the
 * results: a rollout's random stream comes from its own seed (`rolloutSeed`), and rollouts are put back in order before they are yielded.
 */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type {
	FailedSample,
	GeneratedSample,
	GenerateStreamOptions,
	GenerationRequest,
	GenerativeModel,
} from "../model/generative-model.js";
import { type EncodedRecord, encodeRecords } from "./encode-records.js";
import { generateInBatches } from "./generate-in-batches.js";
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
	/** Stops between two decode steps; the iteration then throws the signal's reason. */
	signal?: AbortSignal;
	/** Called after every rollout and every decode step. */
	onProgress?: (progress: SamplingProgress) => void;
}

/**
 * @throws RangeError at once for options out of range. While iterating: what `records` throws; the signal's reason; an Error that
 *   names the first rollout under way if the model fails. A record that can't be encoded throws nothing: its rollouts have finishReason `error`.
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
	const sampling: GenerateStreamOptions = { batchSize, maxNewTokens, temperature, topP, topK, minP, repetitionPenalty, signal };
	const total = Array.isArray(records) ? records.length * samplesPerRecord : undefined;
	const progress = progressCounter(total, onProgress);
	return sampleRecords(records, model, { template: promptTemplate, samplesPerRecord, sampling, seed, progress });
}

interface SamplingRun {
	template: string;
	samplesPerRecord: number;
	sampling: GenerateStreamOptions;
	seed: number;
	progress: ProgressCounter;
}

async function* sampleRecords(
	records: Iterable<PreferenceRecord> | AsyncIterable<PreferenceRecord>,
	model: GenerativeModel,
	run: SamplingRun,
): AsyncGenerator<Rollout> {
	const stop = new AbortController();
	const { signal } = run.sampling;
	const ends = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
	const encoded = encodeRecords(records, model.processor, { template: run.template, stop: ends });
	const ledger = new Ledger(run);
	const options = { ...run.sampling, onStep: run.progress.step };
	const requests = ledger.requests(encoded);
	try {
		const samples = model.generateStream ? model.generateStream(requests, options) : generateInBatches(model, requests, options);
		for await (const sample of samples) {
			ledger.enter(sample);
			let goesOn = false;
			try {
				yield* ledger.takeReady();
				goesOn = true;
			} finally {
				if (!goesOn) stop.abort(); // before the samples are closed, which waits for the requests that are under way
			}
		}
		signal?.throwIfAborted(); // the records end early then, as if there were no more
		yield* ledger.takeReady();
	} catch (error) {
		yield* ledger.takeReady();
		if (signal?.aborted || error === ledger.sourceFailure) throw error;
		throw ledger.modelError(error);
	} finally {
		stop.abort();
		if (!signal?.aborted) await encoded.return(undefined); // the records are closed when the iteration has ended
	}
}

/** A record whose rollouts are not all out. */
interface Entry extends Omit<EncodedRecord, "encoded"> {
	seeds: number[];
	rollouts: (Rollout | undefined)[];
	/** Rollouts that are out. */
	yielded: number;
}

/** Which rollouts are under way, and in which order they must come out. */
class Ledger {
	/** What the records, or their reading, threw. */
	sourceFailure: unknown;
	private readonly entries: Entry[] = [];
	private readonly byRequest = new Map<number, Entry>();

	constructor(private readonly run: SamplingRun) {}

	/** The records that can be asked; those that can't are entered as failed. */
	async *requests(records: AsyncIterable<EncodedRecord>): AsyncGenerator<GenerationRequest> {
		let request = 0;
		try {
			for await (const { record, promptText, encoded } of records) {
				const seeds = this.seedsOf(record);
				const entry: Entry = { record, promptText, seeds, rollouts: new Array(seeds.length).fill(undefined), yielded: 0 };
				this.entries.push(entry);
				if ("kind" in encoded) this.fail(entry, encoded);
				else {
					this.byRequest.set(request++, entry);
					yield { encoded, seeds };
				}
			}
		} catch (error) {
			this.sourceFailure = error;
			throw error;
		}
	}

	enter(generated: GeneratedSample | FailedSample): void {
		const { request, sample } = generated;
		const entry = this.byRequest.get(request) as Entry;
		const { record, promptText, seeds } = entry;
		const outcome = outcomeOf(generated);
		entry.rollouts[sample] = { record, sampleIndex: sample, seed: seeds[sample], promptText, ...outcome };
		if (entry.rollouts.every((rollout) => rollout)) this.byRequest.delete(request);
		this.run.progress.finish(1, outcome.error ? 1 : 0, outcome.numTokens);
	}

	/** The next rollouts in order, up to one that is under way. */
	*takeReady(): Generator<Rollout> {
		for (let entry = this.entries[0]; entry; entry = this.entries[0]) {
			for (let next = entry.rollouts[entry.yielded]; next; next = entry.rollouts[entry.yielded]) {
				entry.yielded++;
				yield next;
			}
			if (entry.yielded < entry.rollouts.length) return;
			this.entries.shift();
		}
	}

	/** A model that fails is the run's failure: the next rollouts would fare no better. */
	modelError(cause: unknown): Error {
		const under = this.entries.reduce((sum, { rollouts }) => sum + rollouts.filter((rollout) => !rollout).length, 0);
		const first = this.entries.find(({ rollouts }) => rollouts.some((rollout) => !rollout))?.record;
		const rows = first ? `, the first of record ${first.source.row} of ${first.source.file} (${first.key})` : "";
		const reason = cause instanceof Error ? cause.message : String(cause);
		return new Error(`generation failed with ${under} rollouts under way${rows}: ${reason}; if memory ran out, take a smaller batchSize`, {
			cause,
		});
	}

	private fail(entry: Entry, error: NonNullable<Rollout["error"]>): void {
		const { record, promptText, seeds } = entry;
		entry.rollouts = seeds.map((seed, sampleIndex) => {
			return { record, sampleIndex, seed, promptText, completion: "", numTokens: 0, finishReason: "error", error };
		});
		this.run.progress.finish(seeds.length, seeds.length, 0);
	}

	private seedsOf({ key, order }: PreferenceRecord): number[] {
		return Array.from({ length: this.run.samplesPerRecord }, (_, sample) => rolloutSeed(this.run.seed, key, order, sample));
	}
}

function outcomeOf(generated: GeneratedSample | FailedSample): Pick<Rollout, "completion" | "numTokens" | "finishReason" | "error"> {
	if ("error" in generated) return { completion: "", numTokens: 0, finishReason: "error", error: generated.error };
	return { completion: generated.text, numTokens: generated.tokens.length, finishReason: generated.finishReason };
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
