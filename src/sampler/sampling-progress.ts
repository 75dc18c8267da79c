/** Counting while sampling: what a progress bar with an ETA needs. */

/** How far sampling is. */
export interface SamplingProgress {
	/** Rollouts that are finished, those with errors included. */
	done: number;
	/** All rollouts to come, where `records` is an array. */
	total?: number;
	/** Rollouts that could not be generated. */
	errors: number;
	/** Tokens of the finished rollouts. */
	tokens: number;
	/** Tokens generated per second since the start, those of running rollouts included. */
	tokensPerSecond: number;
	/** Running rows among those that were computed, over all decode steps: 1 where no row ever waited for another. Absent before the first step. */
	utilisation?: number;
	elapsedSeconds: number;
}

/** What `generateCoT` tells it. */
export interface ProgressCounter {
	/** Finished rollouts; `failed` of them took no generation. */
	finish(rollouts: number, failed: number, tokens: number): void;
	/** A decode step: `running` rows of `rows`. */
	step(running: number, rows: number): void;
}

export function progressCounter(
	total: number | undefined,
	onProgress: ((progress: SamplingProgress) => void) | undefined,
): ProgressCounter {
	const start = performance.now();
	let [done, errors, tokens, ran, computed] = [0, 0, 0, 0, 0];
	const report = () => {
		const elapsedSeconds = (performance.now() - start) / 1000;
		const tokensPerSecond = elapsedSeconds > 0 ? Math.max(tokens, ran) / elapsedSeconds : 0;
		const utilisation = computed > 0 ? ran / computed : undefined;
		onProgress?.({ done, ...(total !== undefined && { total }), errors, tokens, tokensPerSecond, utilisation, elapsedSeconds });
	};
	return {
		finish(rollouts, failed, newTokens) {
			[done, errors, tokens] = [done + rollouts, errors + failed, tokens + newTokens];
			report();
		},
		step(running, rows) {
			[ran, computed] = [ran + running, computed + rows];
			report();
		},
	};
}
