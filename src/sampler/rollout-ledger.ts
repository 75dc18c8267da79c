/**
 * The books of a sampling run: which rollouts are under way, which are finished or in the journal, and in which order they come out (the records', and
 * within a record the samples').
 *
 * With a journal a finished rollout's text is not held here: it is written, and read back when its turn comes, also if it was drawn a moment ago. So a
 * continued run and one that was never interrupted take the same way, two records of equal content get one text, and memory stays flat.
 */
import type { PreferenceRecord } from "../dataset/preference-record.js";
import type { FailedSample, GeneratedSample, GenerationRequest } from "../model/generative-model.js";
import type { EncodedRecord } from "./encode-records.js";
import type { Journal } from "./journal.js";
import type { StoredRollout } from "./journal-line.js";
import type { Rollout } from "./rollout.js";
import type { ProgressCounter } from "./sampling-progress.js";
import { rolloutSeed } from "./seed.js";
import { verdictScore } from "./verdict-score.js";

export interface LedgerOptions {
	/** Rollouts of a record; 0 leaves it out. */
	samplesOf: (record: PreferenceRecord) => number;
	batchSize: number;
	seed: number;
	progress: ProgressCounter;
	journal?: Journal;
	/** Takes no more samples once it is aborted. */
	drain?: AbortSignal;
}

/**
 * Records that are in the journal already and wait for their turn, at most: then the pass ends, so that a long stretch of them behind a rollout under way
 * (or before the first one to draw) is handed out before more are looked up.
 */
const MAX_STORED_AHEAD = 1024;
/** Appends that may be under way before sampling waits for the disk. */
const MAX_PENDING = 256;

/** Where a rollout is: here, in the journal under its key once that has it, or under way. */
type Slot = Rollout | { key: string } | undefined;

/** A record whose rollouts are not all out. */
interface Entry {
	record: PreferenceRecord;
	promptText: string;
	seeds: number[];
	keys?: string[];
	slots: Slot[];
	/** Rollouts that are out. */
	yielded: number;
}

export class RolloutLedger {
	/** What the records, or their reading, threw. */
	sourceFailure: unknown;
	/** What the journal threw. */
	journalFailure: unknown;
	private exhausted = false;
	private readInPass = 0;
	private readonly entries: Entry[] = [];
	private readonly byRequest = new Map<number, { entry: Entry; samples: number[] }>();
	/** Keys that are being drawn: a second record of equal content waits for the first. */
	private readonly underWay = new Set<string>();
	/** Appends under way; none rejects. */
	private readonly writing = new Set<Promise<void>>();

	constructor(
		private readonly records: AsyncIterator<EncodedRecord>,
		private readonly run: LedgerOptions,
	) {}

	/** Whether nothing more will be asked for. */
	get ended(): boolean {
		return this.exhausted || this.run.drain?.aborted === true;
	}

	/** One pass over the next records: what is to be drawn of them. Those that can't be asked are entered as failed. */
	async *requests(): AsyncGenerator<GenerationRequest> {
		let [request, stored] = [0, 0];
		while (stored < MAX_STORED_AHEAD && !this.run.drain?.aborted) {
			const read = await this.nextRecord();
			if (!read) return;
			const { encoded } = read;
			this.readInPass++;
			const entry = this.open(read);
			if (encoded && "kind" in encoded) this.fail(entry, encoded);
			const missing = this.missingOf(entry);
			if (missing.length === 0) stored++;
			if (!encoded || "kind" in encoded) continue;
			for (const samples of this.portionsOf(missing)) {
				if (this.run.drain?.aborted) return;
				this.byRequest.set(request++, { entry, samples });
				yield { encoded, seeds: samples.map((sample) => entry.seeds[sample]) };
			}
		}
	}

	/** @throws what the journal threw at an earlier one */
	async enter(sample: GeneratedSample | FailedSample): Promise<void> {
		const { entry, samples } = this.byRequest.get(sample.request) as { entry: Entry; samples: number[] };
		const { record, promptText, seeds, keys } = entry;
		const sampleIndex = samples[sample.sample];
		if ("error" in sample) return this.failSample(entry, sampleIndex, sample.error);
		const { tokens, text: completion, finishReason, forced, answerLogProbs } = sample;
		const score = answerLogProbs && verdictScore(answerLogProbs, record);
		const said = { completion, numTokens: tokens.length, finishReason, ...(forced && { forced }), ...(score && { score }) };
		if (this.run.journal && keys) {
			const writing = this.write(keys[sampleIndex], { record, sampleIndex, seed: seeds[sampleIndex], ...said });
			this.writing.add(writing);
			void writing.then(() => this.writing.delete(writing));
		} else entry.slots[sampleIndex] = { record, sampleIndex, seed: seeds[sampleIndex], promptText, ...said };
		this.run.progress.finish(1, 0, tokens.length);
		if (this.writing.size > MAX_PENDING) await this.settle();
		if (this.journalFailure !== undefined) throw this.journalFailure;
	}

	/** Waits for the journal. @throws what it threw */
	async settle(): Promise<void> {
		await Promise.all(this.writing);
		if (this.journalFailure !== undefined) throw this.journalFailure;
	}

	/**
	 * The next pass numbers its requests from 0 again.
	 * @throws Error where the model has ended without a word on rows that it was asked for, or without asking for any
	 */
	endPass(): void {
		if (!this.ended && this.readInPass === 0) throw new Error("the model ended its stream without taking a request");
		if (!this.run.drain?.aborted && this.entries.some((entry) => this.unfinished(entry) > 0))
			throw new Error("the model ended its stream before all rows that it was asked for");
		this.readInPass = 0;
		this.byRequest.clear();
		this.underWay.clear();
	}

	/** The next rollouts in order, up to one that is under way. */
	async *takeReady(): AsyncGenerator<Rollout> {
		for (let entry = this.entries[0]; entry; entry = this.entries[0]) {
			while (entry.yielded < entry.slots.length) {
				const rollout = await this.rolloutAt(entry);
				if (!rollout) return;
				entry.slots[entry.yielded++] = undefined;
				yield rollout;
			}
			this.entries.shift();
		}
	}

	/** A model that fails is the run's failure: the next rollouts would fare no better. */
	modelError(cause: unknown): Error {
		const waiting = this.entries.filter((entry) => this.unfinished(entry) > 0);
		const under = waiting.reduce((sum, entry) => sum + this.unfinished(entry), 0);
		const first = waiting[0]?.record;
		const rows = first ? `, the first of record ${first.source.row} of ${first.source.file} (${first.key})` : "";
		const reason = cause instanceof Error ? cause.message : String(cause);
		return new Error(`generation failed with ${under} rollouts under way${rows}: ${reason}; if memory ran out, take a smaller batchSize`, {
			cause,
		});
	}

	private async nextRecord(): Promise<EncodedRecord | undefined> {
		try {
			const next = await this.records.next();
			if (!next.done) return next.value;
			this.exhausted = true;
			return undefined;
		} catch (error) {
			this.sourceFailure = error;
			throw error;
		}
	}

	private open({ record, promptText, keys }: EncodedRecord): Entry {
		const { samplesOf, seed } = this.run;
		const seeds = Array.from({ length: samplesOf(record) }, (_, sample) => rolloutSeed(seed, record.key, record.order, sample));
		const slots: Slot[] = seeds.map((_, i) => keys && { key: keys[i] });
		const entry = { record, promptText, seeds, keys, slots, yielded: 0 };
		this.entries.push(entry);
		return entry;
	}

	/** Samples that are neither finished nor being drawn. */
	private missingOf(entry: Entry): number[] {
		const missing = entry.seeds.map((_, i) => i).filter((i) => !this.isFinished(entry, i) && !this.underWay.has(entry.keys?.[i] ?? ""));
		for (const i of missing) if (entry.keys) this.underWay.add(entry.keys[i]);
		const there = entry.seeds.length - missing.length;
		if (there > 0 && entry.keys) this.run.progress.finish(there, 0, 0);
		return missing;
	}

	/** All at once share one reading of the prompt; where a drain may come they come in batches, so that it leaves no more than one to finish. */
	private portionsOf(samples: number[]): number[][] {
		const size = this.run.drain ? this.run.batchSize : Math.max(1, samples.length);
		return Array.from({ length: Math.ceil(samples.length / size) }, (_, i) => samples.slice(i * size, (i + 1) * size));
	}

	private async write(key: string, rollout: StoredRollout): Promise<void> {
		try {
			await this.run.journal?.append(key, rollout);
			this.underWay.delete(key);
		} catch (error) {
			this.journalFailure ??= error;
		}
	}

	private unfinished(entry: Entry): number {
		return entry.slots.filter((_, i) => i >= entry.yielded && !this.isFinished(entry, i)).length;
	}

	private isFinished({ slots }: Entry, sample: number): boolean {
		const slot = slots[sample];
		if (!slot) return false;
		return "key" in slot ? (this.run.journal?.has(slot.key) ?? false) : true;
	}

	private async rolloutAt(entry: Entry): Promise<Rollout | undefined> {
		const sampleIndex = entry.yielded;
		const slot = entry.slots[sampleIndex];
		if (!slot || !("key" in slot)) return slot;
		if (!this.isFinished(entry, sampleIndex)) return undefined;
		const { record, promptText, seeds } = entry;
		const { completion, numTokens, finishReason, forced, score } = (await (this.run.journal as Journal).read(slot.key)).rollout;
		const optional = { ...(forced && { forced }), ...(score && { score }) };
		return { record, sampleIndex, seed: seeds[sampleIndex], promptText, completion, numTokens, finishReason, ...optional };
	}

	private fail(entry: Entry, error: NonNullable<Rollout["error"]>): void {
		entry.slots = entry.seeds.map((_, sampleIndex) => failed(entry, sampleIndex, error));
		entry.keys = undefined;
		this.run.progress.finish(entry.seeds.length, entry.seeds.length, 0);
	}

	/** One sample that failed on its own, and those of equal records that wait for it. */
	private failSample(entry: Entry, sampleIndex: number, error: NonNullable<Rollout["error"]>): void {
		const key = entry.keys?.[sampleIndex];
		const same = this.entries.filter((other) => other === entry || (key !== undefined && other.keys?.[sampleIndex] === key));
		for (const one of same) one.slots[sampleIndex] = failed(one, sampleIndex, error);
		if (key !== undefined) this.underWay.delete(key);
		this.run.progress.finish(1, 1, 0);
	}
}

function failed({ record, promptText, seeds }: Entry, sampleIndex: number, error: NonNullable<Rollout["error"]>): Rollout {
	const seed = seeds[sampleIndex];
	return { record, sampleIndex, seed, promptText, completion: "", numTokens: 0, finishReason: "error", error };
}
