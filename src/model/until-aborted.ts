/** The call's result, or the signal's reason as soon as it is aborted: the caller need not wait for what the call waits for. */
export async function untilAborted<T>(call: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
	if (!signal) return call;
	let stop = () => {};
	const aborted = new Promise<never>((_, reject) => {
		stop = () => reject(signal.reason);
		if (signal.aborted) stop();
		else signal.addEventListener("abort", stop);
	});
	try {
		return await Promise.race([aborted, call]);
	} finally {
		signal.removeEventListener("abort", stop);
	}
}
