/** Flags of `train` that say who trains, and those that only another trainer can honour. */
import { z } from "zod";
import { choice, flag, text, toggle, whole } from "../flag.js";

export const ENGINES = ["ours", "llamafactory", "lightrft", "trl"] as const;
export type EngineName = Exclude<(typeof ENGINES)[number], "ours">;

/** Also as a config file's number. */
const zeroStage = () => z.preprocess((value) => (typeof value === "number" ? String(value) : value), choice("0", "1", "2", "3"));

export const engineFlags = {
	engine: flag(
		choice(...ENGINES).default("ours"),
		"what trains: this library, or LLaMA-Factory, LightRFT or TRL, for which data, configuration and launch.sh are written",
		"NAME",
	),
	launch: flag(toggle().default(false), "with --engine: also start launch.sh, here or with --ray as a job"),
	ray: flag(text().optional(), "with --launch: address of a Ray cluster's dashboard, http://HOST:8265", "ADDRESS"),
	engine_files: flag(text().optional(), "with --engine: folder for its files; default: SAVE_PATH.ENGINE", "DIR"),
	engine_path: flag(text().optional(), "with --engine lightrft: LightRFT's clone, on the machines that train", "DIR"),
	gpus_per_node: flag(whole(0).optional(), "with --engine: GPUs of a machine; 0: on the CPU; default: 8", "N"),
	nnodes: flag(whole().optional(), "with --engine: machines; default: 1", "N"),
	zero_stage: flag(
		zeroStage().optional(),
		"what several processes share out: 0 nothing, 1 the optimizer's states, 2 gradients, too; 3 weights, too: with --engine only. Default: 0; with --engine 3, on the CPU 0",
		"N",
	),
	flash_attn: flag(toggle().default(false), "with --engine: FlashAttention 2"),
	adam_offload: flag(toggle().default(false), "with --engine: the optimizer's states in the machine's own memory"),
	overlap_comm: flag(toggle().default(false), "with --engine: DeepSpeed's overlap_comm"),
};
