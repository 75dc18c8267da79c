/** Samples of one quantity, and how rounds of them are put together. Minima are compared: these machines are noisy, and noise only adds. */

/** Seconds, or GiB where the name ends in `_GiB`: least and middle of n samples. */
export interface Measured {
	min: number;
	median: number;
	n: number;
}

/** By name: `decode_b8_s`, `peak_GiB`, … */
export type Measurements = Record<string, Measured>;

export function median(samples: readonly number[]): number {
	const sorted = [...samples].sort((a, b) => a - b);
	const half = sorted.length >> 1;
	return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

export function measured(samples: readonly number[]): Measured {
	return { min: Math.min(...samples), median: median(samples), n: samples.length };
}

/** Least of the minima and middle of the medians, over rounds of the same job. */
export function mergeRounds(rounds: readonly Measurements[]): Measurements {
	return Object.fromEntries(
		Object.keys(rounds[0]).map((name) => {
			const all = rounds.map((round) => round[name]);
			return [
				name,
				{
					min: Math.min(...all.map((m) => m.min)),
					median: median(all.map((m) => m.median)),
					n: all.reduce((n, m) => n + m.n, 0),
				},
			];
		}),
	);
}

/**
 * Time per step of a loop from its time stamps: means over windows of steps, so that steps that are done several at a time, or that
 * differ (a new cache length), count as they come.
 * @param stamps seconds, one after each step; the first `warmSteps` are not counted
 */
export function stepWindows(stamps: readonly number[], warmSteps: number, window: number): number[] {
	const kept = stamps.slice(warmSteps);
	const means: number[] = [];
	for (let i = 0; i + window < kept.length; i += window) means.push((kept[i + window] - kept[i]) / window);
	if (means.length === 0) throw new Error(`stepWindows: ${stamps.length} steps; expected at least ${warmSteps + window + 1}`);
	return means;
}

export const seconds = (): number => performance.now() / 1000;

export async function timed<T>(samples: number[], work: () => Promise<T>): Promise<T> {
	const started = seconds();
	const result = await work();
	samples.push(seconds() - started);
	return result;
}
