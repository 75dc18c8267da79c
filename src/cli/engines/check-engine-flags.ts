/** Every flag of `train` is translated for an engine or refused, with a reason; nothing is dropped in silence. */
import { isDeepStrictEqual } from "node:util";
import type { z } from "zod";
import { type TrainOptions, trainOptions } from "../options.js";
import { refuseFlag } from "../refused-flags.js";
import { UsageError } from "../usage-error.js";
import type { Engine } from "./engine.js";

type FlagName = keyof TrainOptions;

const FLAGS = Object.keys(trainOptions.shape) as FlagName[];

/** Whether a flag says something else than when it is left out. */
const isGiven = (name: FlagName, options: TrainOptions) =>
	options[name] !== undefined && !isDeepStrictEqual(options[name], (trainOptions.shape[name] as z.ZodType).safeParse(undefined).data);

/** @throws UsageError for the first flag that the engine can't be given */
export function checkEngineFlags({ title, takes, refuses, check }: Engine, options: TrainOptions): void {
	for (const name of FLAGS) {
		if (takes.includes(name) || !isGiven(name, options)) continue;
		const reason = refuses[name] ?? `${title} is not known to have the like; leave it out, or train with --engine ours`;
		throw new UsageError(`--${name} can't be handed over to ${title}: ${reason}`);
	}
	if (options.dtype === "int8")
		throw new UsageError(`--dtype: expected auto, float32 or bfloat16 with ${title}, got int8: it is for sampling`);
	if (options.ray !== undefined && (!options.launch || (options.nnodes ?? 1) > 1))
		throw new UsageError(
			"--ray: expected --launch and one node with it (a Ray job's command runs on one; start launch.sh on each of several)",
		);
	if (options.launch && (options.nnodes ?? 1) > 1)
		throw new UsageError("--launch: expected one node; with several, start launch.sh on each (srun does), with NODE_RANK and MASTER_ADDR");
	const wrong = check(options);
	if (wrong) throw new UsageError(`--${wrong.flag}: expected ${wrong.expected}, got ${JSON.stringify(options[wrong.flag])}`);
}

const LAUNCH_FLAGS = ["launch", "ray", "engine_files", "engine_path", "gpus_per_node", "nnodes"] as const;
const GPU_FLAGS = ["flash_attn", "adam_offload", "overlap_comm"] as const;

/** @throws UsageError for a flag that our own trainer leaves to the others */
export function refuseEngineFlags(options: TrainOptions): void {
	for (const name of LAUNCH_FLAGS)
		if (isGiven(name, options)) throw new UsageError(`--${name}: expected --engine llamafactory, lightrft or trl with it`);
	for (const name of GPU_FLAGS) if (isGiven(name, options)) refuseFlag(name, options[name], `--${name}`);
	if (options.zero_stage === "3") refuseFlag("zero_stage", "3", "--zero_stage");
}
