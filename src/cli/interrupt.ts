/**
 * Ctrl-C, as an AbortSignal. The first one asks the stage to stop at its next step and to close its files; the second one ends the
 * process at once. SIGTERM does the same.
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

/** @param note tells the user that the first signal was heard. */
export function stopOnSignals(note: (line: string) => void): AbortSignal {
	const controller = new AbortController();
	for (const name of ["SIGINT", "SIGTERM"] as const) {
		process.on(name, () => {
			if (controller.signal.aborted) process.exit(128 + constants.signals[name]);
			note("stopping after the current step; once more stops at once");
			controller.abort(new Interrupted(name, "stopped"));
		});
	}
	return controller.signal;
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
