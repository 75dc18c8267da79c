/**
 * Rows under way at a server: a request is asked for when there is room, rows come as they end, each exactly once however often it was asked.
 *
 * Whose failure it is: a row that is refused, or fails after all its attempts, while the server answers others, has failed on its own
 * (`FailedSample`). Where nothing was answered meanwhile it is the server's, or the configuration's, and ends the run: rows under way end, no
 * more are started or asked again, and the error is thrown. Refusals that come before the first answer wait for it.
 */
import { setMaxListeners } from "node:events";
import {
	type FailedSample,
	type GeneratedSample,
	type GenerateStreamOptions,
	type GenerationRequest,
	ImageError,
} from "../generative-model.js";
import type { ChatAnswer } from "./chat-completion.js";
import { RemoteError } from "./remote-error.js";

/** One sample to draw. */
export interface RemoteRow {
	request: number;
	sample: number;
	encoded: GenerationRequest["encoded"];
	seed: number;
}

/** What rows under way share. */
export interface RowsUnderWay {
	/** Aborts when the run was stopped. */
	signal: AbortSignal;
	/** Aborts then, and when no row is to be asked again. */
	asking: AbortSignal;
	/** Rows answered so far. */
	answered: number;
}

/** A row that failed after all its attempts. */
export class AttemptsOver extends Error {
	constructor(
		override readonly cause: RemoteError,
		/** Other rows were answered between its last two attempts. */
		readonly othersAnswered: boolean,
	) {
		super(cause.message, { cause });
	}
}

type Ended = GeneratedSample | FailedSample;

/** Refusals without any answer after which the first is thrown. */
const MOST_HELD = 16;

/**
 * @param ask throws RemoteError (refused, or no endpoint), AttemptsOver, ImageError
 * @throws what `requests` throws, after the rows that were running; RemoteError; the signal's reason
 */
export async function* generateRows(
	requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>,
	{ signal, onStep, maxNewTokens = 256 }: GenerateStreamOptions,
	capacity: number,
	ask: (row: RemoteRow, underWay: RowsUnderWay) => Promise<ChatAnswer>,
): AsyncGenerator<Ended> {
	const run = new RowRun(rowsOf(requests), capacity, maxNewTokens, ask);
	const stop = () => run.abort(signal?.reason);
	signal?.addEventListener("abort", stop);
	try {
		for (;;) {
			for (const ended of run.takeEnded()) {
				onStep?.(run.running + 1, capacity);
				yield ended;
			}
			signal?.throwIfAborted();
			run.start();
			if (run.over) break;
			await run.change();
		}
		run.throwFailure();
	} finally {
		signal?.removeEventListener("abort", stop);
		await run.close();
	}
}

class RowRun {
	private readonly stopping = new AbortController();
	private readonly ending = new AbortController();
	private readonly underWay: RowsUnderWay;
	private readonly rows = new Set<Promise<void>>();
	private ended: Ended[] = [];
	/** Refused before anything was answered. */
	private held: { row: RemoteRow; error: RemoteError }[] = [];
	private failure: { error: unknown } | undefined;
	private sourceEnded = false;
	/** The next row is asked for. */
	private pulling = false;
	private wake: () => void = () => undefined;
	private changed = false;

	constructor(
		private readonly source: AsyncGenerator<RemoteRow>,
		private readonly capacity: number,
		private readonly maxNewTokens: number,
		private readonly ask: (row: RemoteRow, underWay: RowsUnderWay) => Promise<ChatAnswer>,
	) {
		setMaxListeners(0, this.stopping.signal, this.ending.signal); // each row under way listens
		this.underWay = { signal: this.stopping.signal, asking: this.ending.signal, answered: 0 };
	}

	get running(): number {
		return this.rows.size;
	}

	get over(): boolean {
		return (this.sourceEnded || this.ending.signal.aborted) && !this.pulling && this.rows.size === 0 && this.ended.length === 0;
	}

	/** Asks for the next row where there is room for it. */
	start(): void {
		if (this.pulling || this.sourceEnded || this.ending.signal.aborted || this.rows.size >= this.capacity) return;
		this.pulling = true;
		this.source
			.next()
			.then(
				({ done, value }) => {
					if (done) this.sourceEnded = true;
					else if (!this.ending.signal.aborted) this.generate(value);
				},
				(error: unknown) => {
					this.sourceEnded = true;
					this.failure ??= { error };
				},
			)
			.finally(() => {
				this.pulling = false;
				this.notify();
			});
	}

	takeEnded(): Ended[] {
		return this.ended.splice(0);
	}

	/** Until a row has ended or has been started. */
	async change(): Promise<void> {
		if (!this.changed) {
			await new Promise<void>((resolve) => {
				this.wake = resolve;
			});
		}
		this.changed = false;
	}

	/** @throws what ended the run, or refused every row */
	throwFailure(): void {
		if (this.failure) throw this.failure.error;
		if (this.held.length > 0) throw this.held[0].error;
	}

	abort(reason: unknown): void {
		this.stopping.abort(reason);
		this.ending.abort(reason);
		this.notify();
	}

	/** Ends what is under way. A source that is being waited for is told, and not waited for. */
	async close(): Promise<void> {
		this.abort(new Error("remote model: the samples were no longer wanted"));
		await Promise.allSettled(this.rows);
		const closing = this.source.return(undefined);
		if (this.pulling) closing.catch(() => undefined);
		else await closing;
	}

	/** Rows at a server end, the others are given up. */
	private end(): void {
		this.ending.abort(new Error("remote model: another row ended the run"));
	}

	private generate(row: RemoteRow): void {
		const asking = this.ask(row, this.underWay)
			.then(
				(answer) => this.enter(row, answer),
				(error: unknown) => this.fail(row, error),
			)
			.finally(() => {
				this.rows.delete(asking);
				this.notify();
			});
		this.rows.add(asking);
	}

	private enter({ request, sample }: RemoteRow, { text, numTokens, finishReason, answerLogProbs }: ChatAnswer): void {
		this.underWay.answered++;
		const tokens = new Int32Array(Math.max(0, Math.min(numTokens, this.maxNewTokens))).fill(-1);
		this.ended.push({ request, sample, tokens, text, finishReason, ...(answerLogProbs && { answerLogProbs }) });
		for (const { row, error } of this.held.splice(0)) this.failAlone(row, error);
	}

	private fail(row: RemoteRow, error: unknown): void {
		if (this.stopping.signal.aborted) return;
		if (error instanceof ImageError) this.failAlone(row, error);
		else if (error instanceof AttemptsOver && error.othersAnswered) this.failAlone(row, error);
		else if (error instanceof RemoteError && error.kind === "refused") this.refuse(row, error);
		else {
			this.failure ??= { error: error instanceof AttemptsOver ? error.cause : error };
			this.end();
		}
	}

	private refuse(row: RemoteRow, error: RemoteError): void {
		if (this.underWay.answered > 0) this.failAlone(row, error);
		else if (this.held.push({ row, error }) >= MOST_HELD) this.end();
	}

	private failAlone({ request, sample }: RemoteRow, error: Error): void {
		const kind = error instanceof ImageError ? "bad-image" : "error";
		this.ended.push({ request, sample, error: { kind, message: error.message } });
	}

	private notify(): void {
		this.changed = true;
		this.wake();
	}
}

async function* rowsOf(requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>): AsyncGenerator<RemoteRow> {
	let request = 0;
	for await (const { encoded, seeds } of requests) {
		for (const [sample, seed] of seeds.entries()) yield { request, sample, encoded, seed };
		request++;
	}
}
