/**
 * The learning rate of every step: linear warm-up, then cosine, linear or constant.
 * Equal to transformers' `get_cosine_schedule_with_warmup`, `get_linear_schedule_with_warmup` and
 * `get_constant_schedule_with_warmup` (optimization.py), step 0's rate of zero under a warm-up included.
 */

export const LR_SCHEDULERS = ["cosine", "linear", "constant"] as const;
export type LrScheduler = (typeof LR_SCHEDULERS)[number];

export interface LrScheduleOptions {
	/** The peak. */
	learningRate: number;
	totalSteps: number;
	/** Steps from 0 to the peak. Default: `ceil(warmupRatio · totalSteps)`. */
	warmupSteps?: number;
	/** Default 0. */
	warmupRatio?: number;
	/** Default `cosine`. */
	scheduler?: LrScheduler;
}

/** @returns the learning rate of step 0, 1, … `totalSteps` − 1. */
export function lrSchedule({
	learningRate,
	totalSteps,
	warmupRatio = 0,
	warmupSteps = Math.ceil(warmupRatio * totalSteps),
	scheduler = "cosine",
}: LrScheduleOptions): (step: number) => number {
	return (step) => {
		if (step < warmupSteps) return (learningRate * step) / warmupSteps;
		const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
		return learningRate * decay(scheduler, Math.min(1, progress));
	};
}

function decay(scheduler: LrScheduler, progress: number): number {
	switch (scheduler) {
		case "cosine":
			return 0.5 * (1 + Math.cos(Math.PI * progress));
		case "linear":
			return 1 - progress;
		case "constant":
			return 1;
	}
}
