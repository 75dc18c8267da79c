/**
 * The learning rate of every step: linear warm-up, then a decay. Equal to transformers' schedules (optimization.py: `get_scheduler` with the
 * names below), step 0's rate under a warm-up included: zero, or the floor with `warmup_stable_decay`.
 */

export const LR_SCHEDULERS = ["cosine", "linear", "constant", "cosine_with_min_lr", "warmup_stable_decay"] as const;
export type LrScheduler = (typeof LR_SCHEDULERS)[number];

export interface LrScheduleOptions {
	/** The peak. */
	learningRate: number;
	totalSteps: number;
	/** Steps up to the peak. Default: `ceil(warmupRatio · totalSteps)`. */
	warmupSteps?: number;
	/** Default 0. */
	warmupRatio?: number;
	/** Default `cosine`. */
	scheduler?: LrScheduler;
	/** Where `cosine_with_min_lr` (default 0.1) and `warmup_stable_decay` (default 0) end, as a part of the peak. The others end at 0 or stay. */
	minLrRatio?: number;
	/** The last steps, in which `warmup_stable_decay` falls along a cosine. Default: `ceil(decayRatio · totalSteps)`. */
	decaySteps?: number;
	/** Default 0.1. */
	decayRatio?: number;
}

/**
 * @returns the learning rate of step 0, 1, … `totalSteps` − 1
 * @throws RangeError where warm-up and decay together are longer than the run
 */
export function lrSchedule({
	learningRate,
	totalSteps,
	warmupRatio = 0,
	warmupSteps = Math.ceil(warmupRatio * totalSteps),
	scheduler = "cosine",
	minLrRatio = scheduler === "cosine_with_min_lr" ? 0.1 : 0,
	decayRatio = 0.1,
	decaySteps = Math.ceil(decayRatio * totalSteps),
}: LrScheduleOptions): (step: number) => number {
	const stable = scheduler === "warmup_stable_decay" ? totalSteps - decaySteps : warmupSteps; // where the decay begins
	if (stable < warmupSteps && scheduler === "warmup_stable_decay") {
		throw new RangeError(`lrSchedule: ${warmupSteps} steps of warm-up and ${decaySteps} of decay, but ${totalSteps} in all; shorten one`);
	}
	const above = (factor: number) => factor * (1 - minLrRatio) + minLrRatio;
	return (step) => {
		if (step < warmupSteps) {
			const risen = step / warmupSteps;
			return learningRate * (scheduler === "warmup_stable_decay" ? above(risen) : risen);
		}
		const progress = Math.min(1, Math.max(0, step - stable) / Math.max(1, totalSteps - stable));
		switch (scheduler) {
			case "linear":
				return learningRate * (1 - progress);
			case "constant":
				return learningRate;
			case "cosine":
				return learningRate * cosine(progress);
			default:
				return learningRate * above(cosine(progress));
		}
	};
}

const cosine = (progress: number) => 0.5 * (1 + Math.cos(Math.PI * progress));
