/**
 * Ctrl-C, as an AbortSignal. The first one asks the stage to stop at its next step and to close its files; the second one ends the
 * process at once. A stage may first be asked to finish what is under way; then the second stops it and the third ends the process. SIGTERM does
 * the same.
 */
import { constants } from "node:os";

type StopSignal = "SIGINT" | "SIGTERM";

/** The user stopped the run; the message says what is done and what remains. */
export class Interrupted extends Error {
	override readonly name = "Interrupted";
	/** 128 + the signal's number, as shells have it. */
	readonly exitCode: number;

	constructor(
		readonly signalName: StopSignal,
		message: string,
	) {
		super(message);
		this.exitCode = 128 + constants.signals[signalName];
	}
}

export interface Stops {
	/** Aborted by Ctrl-C: stop at the next step. */
	signal: AbortSignal;
	/**
	 * While `work` runs, the first Ctrl-C aborts only `drain`: begin nothing more, finish what is under way. `signal` is aborted by the next one, or when
	 * `work` is done.
	 */
	finishing<T>(work: (drain: AbortSignal) => Promise<T>): Promise<T>;
}

/** @param note tells the user that a signal was heard. */
export function stopOnSignals(note: (line: string) => void): Stops {
	// A file at its size limit is the write's error. Without a listener of ours it would kill: proper-lockfile's signal-exit listens, and ends the process.
	process.on("SIGXFSZ", () => undefined);
	const controller = new AbortController();
	let draining: AbortController | undefined;
	for (const name of ["SIGINT", "SIGTERM"] as const) {
		process.on(name, () => {
			if (controller.signal.aborted) process.exit(128 + constants.signals[name]);
			if (draining && !draining.signal.aborted) {
				note("finishing the judgements under way; once more stops after the current step");
				draining.abort(new Interrupted(name, "stopped"));
				return;
			}
			note("stopping after the current step; once more stops at once");
			controller.abort(new Interrupted(name, "stopped"));
		});
	}
	async function finishing<T>(work: (drain: AbortSignal) => Promise<T>): Promise<T> {
		const own = new AbortController();
		draining = own;
		try {
			return await work(own.signal);
		} finally {
			draining = undefined;
			if (own.signal.aborted && !controller.signal.aborted) controller.abort(own.signal.reason);
		}
	}
	return { signal: controller.signal, finishing };
}

/** The reason of an aborted signal, with what is done and what remains. */
export function interruptedWith(signal: AbortSignal, message: string): Error {
	return signal.reason instanceof Interrupted ? new Interrupted(signal.reason.signalName, message) : new Error(message);
}

/** Ends the stream where the signal stopped it, so that a file being written from it is closed whole. Other errors pass. */
export async function* endWhenAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
	try {
		yield* items;
	} catch (error) {
		if (!signal.aborted) throw error;
	}
}
