/** An iterable seen as a queue: what has arrived can be taken without waiting, one item is asked for ahead. */
import { untilAborted } from "../until-aborted.js";

export class Arrivals<T> {
	/** Nothing more will come. */
	ended = false;
	private readonly iterator: Iterator<T> | AsyncIterator<T>;
	private arrived: { item: T } | undefined;
	private asked: Promise<void> | undefined;
	private failure: { error: unknown } | undefined;

	constructor(source: Iterable<T> | AsyncIterable<T>) {
		this.iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
	}

	/** What has arrived, if anything has. */
	peek(): T | undefined {
		if (!this.arrived && !this.ended) this.ask();
		return this.arrived?.item;
	}

	/** Takes what `peek` shows. */
	take(): T {
		const { item } = this.arrived as { item: T };
		this.arrived = undefined;
		return item;
	}

	/** Until something has arrived, or nothing more will. @throws the signal's reason when it is aborted */
	async wait(signal?: AbortSignal): Promise<void> {
		if (this.peek() === undefined && this.asked) await untilAborted(this.asked, signal);
	}

	/** @throws what the iterable threw */
	throwFailure(): void {
		if (this.failure) throw this.failure.error;
	}

	/** Tells the iterable that no more is wanted. It is not waited for where it was asked for an item: that may never come. */
	async close(): Promise<void> {
		if (this.ended) return;
		const closing = this.iterator.return?.();
		if (!this.asked) await closing;
		else Promise.resolve(closing).catch(() => {}); // nobody is there any more to hear of it
	}

	private ask(): void {
		if (this.asked) return;
		try {
			const next = this.iterator.next();
			if ("then" in next) this.asked = this.receiveLater(next);
			else this.receive(next);
		} catch (error) {
			this.fail(error);
		}
	}

	private async receiveLater(next: Promise<IteratorResult<T>>): Promise<void> {
		try {
			this.receive(await next);
		} catch (error) {
			this.fail(error);
		} finally {
			this.asked = undefined;
		}
	}

	private receive(result: IteratorResult<T>): void {
		if (result.done) this.ended = true;
		else this.arrived = { item: result.value };
	}

	/** Kept until what arrived before it is dealt with. */
	private fail(error: unknown): void {
		this.ended = true;
		this.failure = { error };
	}
}
