/**
 * Whether the other processes are still there. TensorFlow's collective ops don't find out by themselves: whoever waits for a process that was
 * killed waits for the whole timeout. So each process opens a TCP connection to every other one's port once a second and closes it again: where
 * nobody listens any more, the process has ended; where nothing answers, its machine or the way to it is gone.
 */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const EVERY_MS = 1000;
/** Of one connection. */
const ANSWER_MS = 5000;
/** In a row; then a process counts as lost: within 3 s where its port is closed, within 20 s where nothing answers. */
const FAILURES = 3;

/** Another process of the run has ended, or can't be reached. What it was, its own output says. */
export class WorkerLostError extends Error {
	override readonly name = "WorkerLostError";

	constructor(
		/** From 0. */
		readonly rank: number,
		/** `host:port` */
		readonly address: string,
		detail: string,
		cause?: unknown,
	) {
		super(
			`worker ${rank} (${address}) ${detail}; its own output says why. Go on from the newest checkpoint with --resume_from_checkpoint, with as many workers as there are now`,
			{ cause },
		);
	}
}

/** Splits `host:port`; an IPv6 address stands in brackets. @throws for anything else */
export function parseWorker(worker: string): { host: string; port: number } {
	const [, host, port] = /^(\[[\da-fA-F:.]+\]|[^:\s[\]/]+):(\d{1,5})$/.exec(worker) ?? [];
	if (host && Number(port) >= 1 && Number(port) <= 65535) return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
	throw new Error(`workers: expected host:port, such as 10.0.0.1:4400, got ${JSON.stringify(worker)}`);
}

/**
 * Waits until every worker listens.
 *
 * @param timeoutMs for all of them together
 * @throws WorkerLostError naming the first that doesn't; the signal's reason
 */
export async function waitForWorkers(workers: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<void> {
	const end = performance.now() + timeoutMs;
	for (const [rank, address] of workers.entries()) {
		for (let problem = await probe(address); problem; problem = await probe(address)) {
			if (performance.now() > end) {
				throw new WorkerLostError(rank, address, `did not come within ${(timeoutMs / 1000).toFixed(0)} s (${problem})`);
			}
			signal?.throwIfAborted();
			await sleep(200);
		}
	}
}

/**
 * Watches until the result is called.
 *
 * @param rank this process's own, which isn't watched
 * @param onLost called once, for the first that is lost
 */
export function watchWorkers(workers: readonly string[], rank: number, onLost: (error: WorkerLostError) => void): () => void {
	const stopped = new AbortController();
	const lost = (error: WorkerLostError) => {
		if (stopped.signal.aborted) return;
		stopped.abort();
		onLost(error);
	};
	for (const [other, address] of workers.entries()) if (other !== rank) void watchOne(other, address, stopped.signal, lost);
	return () => stopped.abort();
}

/**
 * Which worker is the reason for an error of an op, where one is: TensorFlow may notice before the watch does.
 *
 * @returns undefined where all are there
 */
export async function findLost(workers: readonly string[], rank: number, cause: unknown): Promise<WorkerLostError | undefined> {
	for (let round = 0; round < FAILURES; round++) {
		const problems = await Promise.all(workers.map((address, other) => (other === rank ? undefined : probe(address))));
		const lost = problems.findIndex((problem) => problem !== undefined);
		if (lost >= 0) return new WorkerLostError(lost, workers[lost], `is gone (${problems[lost]})`, cause);
		await sleep(EVERY_MS); // it may be about to end
	}
	return undefined;
}

async function watchOne(rank: number, address: string, stopped: AbortSignal, lost: (error: WorkerLostError) => void): Promise<void> {
	let failures = 0;
	while (!stopped.aborted) {
		const problem = await probe(address);
		failures = problem ? failures + 1 : 0;
		if (failures >= FAILURES) return lost(new WorkerLostError(rank, address, `is gone (${problem})`));
		await sleep(EVERY_MS, undefined, { ref: false, signal: stopped }).catch(() => undefined); // aborted: the loop ends
	}
}

/** @returns why no connection came about, or undefined */
function probe(address: string): Promise<string | undefined> {
	return new Promise((resolve) => {
		const socket = connect({ ...parseWorker(address), timeout: ANSWER_MS });
		const end = (problem?: string) => {
			socket.destroy();
			resolve(problem);
		};
		socket.unref();
		socket.on("connect", () => end());
		socket.on("timeout", () => end(`no answer within ${ANSWER_MS / 1000} s`));
		socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
	});
}
