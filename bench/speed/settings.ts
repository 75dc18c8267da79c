/** What every job of the speed bench does, on both sides: the one place of its numbers. */

/** The configurations' files are bench/peer/configs/<name>.json: 64 M and 0.54 B parameters. */
export const CONFIGS = ["small", "medium"] as const;
export type Config = (typeof CONFIGS)[number];

/**
 * What is computed in. `autocast` is for training only: our bfloat16 (whose master weights are float32) beside the peer's float32 parameters
 * under torch.autocast; under `bfloat16` the peer's parameters and moments are bfloat16. `int8` is our int8 weights beside the peer's bfloat16.
 */
export const DTYPES = ["float32", "bfloat16", "autocast", "int8"] as const;
export type Dtype = (typeof DTYPES)[number];

export const JOBS = ["limits", "generate", "pipeline", "train", "train_gc", "first_token"] as const;
export type Kind = (typeof JOBS)[number];

/** Tokens of a prompt: two images of 100 tokens each, and text. */
export const PROMPT_TOKENS = 300;
export const TRAINING_TOKENS = 500;
/** The last tokens of a training row, which are learnt from. */
export const LABELLED_TOKENS = 150;
export const TRAINING_ROWS = 4;
export const PROMPTS = 8;
/** Rows per prompt of the largest decode batch: 8 × 4 = 32. */
export const SAMPLES = 4;
export const RECORDS = 16;
export const ROLLOUTS_PER_RECORD = 8;
/** Of the pipeline's rollouts; one token in so many of the vocabulary ends a row, so about a third of the rows run to the limit. */
export const MAX_NEW_TOKENS = 64;
/** Text tokens of bench/growth.ts. */
export const LONGEST_TEXT = 4096;

/** Tokens generated to time a decode step: the first `warmSteps` don't count, the rest in windows. */
export const DECODE = { decodeSteps: 37, warmSteps: 4, window: 8 };

/** Records of which the peer generates the rollouts in one call: both are run, and its faster counts. */
export const PEER_RECORDS_PER_CALL = [1, 4];

/** Repetitions within a process, and rounds of processes: a step of medium takes the peer a minute. */
export function repetitions(
	kind: Kind,
	config: Config,
): { steps: number; warmSteps: number; reps: number; records: number; rounds: number } {
	const small = config === "small";
	const training = kind === "train" || kind === "train_gc";
	return {
		steps: small ? 7 : 4,
		warmSteps: 2,
		reps: small ? 3 : 2,
		records: small ? RECORDS : 4,
		rounds: kind === "first_token" ? 3 : small ? 2 : training || kind === "pipeline" ? 1 : 2,
	};
}
