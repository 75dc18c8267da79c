/** Where one process of a run is told to stop, all stop, and at the same place: whoever waits there for the others is not left waiting. */
import type { WorkerGroup } from "./worker-group.js";

/** Another process of the run was told to stop. */
export class StoppedElsewhereError extends Error {
	override readonly name = "StoppedElsewhereError";

	constructor() {
		super("another worker was stopped by its user, and all stop with it");
	}
}

/** @param stopping processes that are to stop. @throws the signal's reason where this one is among them, else StoppedElsewhereError */
export function throwIfStopping(stopping: number, signal?: AbortSignal): void {
	if (stopping === 0) return;
	signal?.throwIfAborted();
	throw new StoppedElsewhereError();
}

/**
 * Does what all processes do, and ends it in all of them where the signal has ended it in one. It may itself have parts that end so.
 *
 * @throws as `throwIfStopping`; any other error of `work`, in this process alone: it ends, and the others notice
 */
export async function stopTogether<T>(
	workers: Pick<WorkerGroup, "size" | "sum">,
	signal: AbortSignal | undefined,
	work: () => Promise<T>,
): Promise<T> {
	if (workers.size === 1) return work();
	let result: { done: T } | undefined;
	try {
		result = { done: await work() };
	} catch (error) {
		if (!signal?.aborted && !(error instanceof StoppedElsewhereError)) throw error;
	}
	const [stopping] = await workers.sum([result ? 0 : 1]);
	throwIfStopping(stopping, signal);
	if (result) return result.done;
	throw new StoppedElsewhereError();
}
