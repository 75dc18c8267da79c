/**
 * Which endpoint is asked next: the least busy one with room. A request that waits is bound to no endpoint yet.
 *
 * An endpoint is left alone as long as it asks for (Retry-After), and for a growing while after every few failures in a row: one that is down
 * must not draw the requests because it always has room.
 */
import { RemoteError } from "./remote-error.js";

/** Failures in a row after which an endpoint is left alone. */
const FAILURES_TO_PAUSE = 3;

/** A server, and how it does. */
export interface Endpoint {
	url: string;
	/** Requests under way. */
	active: number;
	failuresInARow: number;
	/** Pauses since it last answered. */
	pauses: number;
	/** By performance.now(). */
	pausedUntil: number;
}

export interface PoolLimits {
	/** Most requests under way per endpoint. */
	concurrency: number;
	minBackoffMs: number;
	maxBackoffMs: number;
}

export class EndpointPool {
	private readonly endpoints: Endpoint[];
	private readonly waiting = new Set<() => void>();

	constructor(
		urls: readonly string[],
		private readonly limits: PoolLimits,
	) {
		this.endpoints = urls.map((url) => ({ url, active: 0, failuresInARow: 0, pauses: 0, pausedUntil: 0 }));
	}

	/** Most requests under way. */
	get capacity(): number {
		return this.endpoints.length * this.limits.concurrency;
	}

	/** Runs the task with an endpoint when there is one with room. @throws what the task throws; the signal's reason */
	async use<T>(signal: AbortSignal, task: (endpoint: Endpoint) => Promise<T>): Promise<T> {
		const endpoint = await this.acquire(signal);
		try {
			const result = await task(endpoint);
			answered(endpoint);
			return result;
		} catch (error) {
			if (error instanceof RemoteError) this.note(endpoint, error);
			throw error;
		} finally {
			endpoint.active--;
			for (const wake of this.waiting) wake();
		}
	}

	private async acquire(signal: AbortSignal): Promise<Endpoint> {
		for (;;) {
			signal.throwIfAborted();
			const now = performance.now();
			const free = this.endpoints.filter(({ active }) => active < this.limits.concurrency);
			const ready = free.filter(({ pausedUntil }) => pausedUntil <= now);
			if (ready.length > 0) {
				const load = ({ active, failuresInARow }: Endpoint) => active + failuresInARow;
				const endpoint = ready.reduce((best, next) => (load(next) < load(best) ? next : best));
				endpoint.active++;
				return endpoint;
			}
			await this.change(signal, Math.min(...free.map(({ pausedUntil }) => pausedUntil - now)));
		}
	}

	/** Until a request ends, `waitMs` are over (Infinity: never) or the signal aborts. */
	private change(signal: AbortSignal, waitMs: number): Promise<void> {
		return new Promise((resolve) => {
			const wake = () => {
				clearTimeout(timer);
				this.waiting.delete(wake);
				signal.removeEventListener("abort", wake);
				resolve();
			};
			const timer = Number.isFinite(waitMs) ? setTimeout(wake, Math.ceil(waitMs)) : undefined;
			this.waiting.add(wake);
			signal.addEventListener("abort", wake);
		});
	}

	private note(endpoint: Endpoint, { kind, retryAfterMs }: RemoteError): void {
		if (kind !== "temporary") {
			answered(endpoint);
			return;
		}
		const now = performance.now();
		endpoint.failuresInARow++;
		if (retryAfterMs !== undefined) endpoint.pausedUntil = Math.max(endpoint.pausedUntil, now + retryAfterMs);
		else if (endpoint.failuresInARow >= FAILURES_TO_PAUSE && endpoint.pausedUntil <= now) {
			const { minBackoffMs, maxBackoffMs } = this.limits;
			const pause = Math.min(maxBackoffMs, minBackoffMs * 2 ** endpoint.pauses++);
			endpoint.pausedUntil = now + pause * (1 + Math.random()) * 0.5;
		}
	}
}

function answered(endpoint: Endpoint): void {
	endpoint.failuresInARow = 0;
	endpoint.pauses = 0;
}
