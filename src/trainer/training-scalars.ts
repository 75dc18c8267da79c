/** What a run's log calls its numbers. */
import type { Evaluated } from "./evaluator.js";
import type { StepCost } from "./step-meter.js";
import type { StepRecord } from "./training-events.js";

/** Units: nats, tokens and conversations per second, shares from 0 to 1, seconds, bytes; see StepRecord and StepCost. */
export function stepScalars(
	{ loss, metrics = {}, learningRate, gradNorm, tokensPerSecond, padding }: StepRecord,
	{ seconds, samplesPerSecond, utilisation, residentBytes, tensorBytes }: StepCost,
): Record<string, number> {
	return {
		"train/loss": loss,
		...Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`train/${name}`, value])),
		"train/learning_rate": learningRate,
		"train/grad_norm": gradNorm,
		"train/tokens_per_second": tokensPerSecond,
		"train/samples_per_second": samplesPerSecond,
		"train/step_seconds": seconds,
		"train/padding": padding,
		"system/utilisation": utilisation,
		"system/resident_bytes": residentBytes,
		"system/tensor_bytes": tensorBytes,
	};
}

/** The scores, and the seconds that the evaluation took. */
export function evaluationScalars({ scores, seconds }: Pick<Evaluated, "scores" | "seconds">): Record<string, number> {
	const named = Object.entries({ ...scores, seconds }).map(([name, score]) => [`eval/${name}`, score]);
	return Object.fromEntries(named) as Record<string, number>;
}
