/** Counting while sampling: what a progress bar with an ETA needs. */

/** How far sampling is. */
export interface SamplingProgress {
	/** Rollouts that are finished, those with errors included. */
	done: number;
	/** All rollouts to come, where `records` is an array. */
	total?: number;
	/** Rollouts that could not be generated. */
	errors: number;
	/** Tokens generated so far. */
	tokens: number;
	/** Tokens per second of generation since the start. */
	tokensPerSecond: number;
	elapsedSeconds: number;
}

/** What `generateCoT` tells of each batch. */
export interface ProgressCounter {
	/** Rollouts that took no generation. */
	finish(rollouts: number, errors: number): void;
	begin(): void;
	step(running: number): void;
	end(rollouts: number, tokens: number): void;
}

/** Counts rows still running as one token each per step, and puts the exact number in its place when the batch is done. */
export function progressCounter(
	total: number | undefined,
	onProgress: ((progress: SamplingProgress) => void) | undefined,
): ProgressCounter {
	const start = performance.now();
	let [done, errors, tokens, batchTokens, generating, batchStart] = [0, 0, 0, 0, 0, 0];
	const report = (current: number) => {
		const seconds = (generating + current) / 1000;
		const tokensPerSecond = seconds > 0 ? (tokens + batchTokens) / seconds : 0;
		const elapsedSeconds = (performance.now() - start) / 1000;
		onProgress?.({ done, ...(total !== undefined && { total }), errors, tokens: tokens + batchTokens, tokensPerSecond, elapsedSeconds });
	};
	return {
		finish(rollouts, failed) {
			done += rollouts;
			errors += failed;
			report(0);
		},
		begin() {
			batchStart = performance.now();
		},
		step(running) {
			batchTokens += running;
			report(performance.now() - batchStart);
		},
		end(rollouts, exact) {
			[done, tokens, batchTokens, generating] = [done + rollouts, tokens + exact, 0, generating + performance.now() - batchStart];
			report(0);
		},
	};
}
