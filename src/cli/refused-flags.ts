/**
 * LightRFT's flags (examples/grm_training/train_grm_vl.py, rejection_sampling_inference_t2i.py, lightrft/utils/cli_args.py) that this
 * version can't honour. A script that brings one is told why and what to do instead; nothing that was asked for is ignored.
 */
import { UsageError } from "./usage-error.js";

interface Refusal {
	/** Why not, and what to do instead. */
	reason: string;
	/** Values that ask for what is done anyway. */
	accepts?: readonly string[];
}

const ONE_PROCESS =
	"weights are whole in each process, and nothing is offloaded; leave it out. What several processes share out: `train --processes N --zero_stage 2`, optimizer states and gradients. To save memory elsewhere: --optim adafactor, --gradient_checkpointing, --micro_train_batch_size 1, a smaller --max_pixels";
const WHERE_LORA_IS = "adapters are trained by `train` and `run`; leave it out. Elsewhere --adapter takes one";
const NO_ENGINE = "the model itself generates, there is no inference engine beside it; leave it out. What counts here is --batch_size";
const NO_WANDB =
	"metrics go to wandb-history.jsonl and TensorBoard events in --log_dir; a few lines of Python replay them into wandb: docs/guide/training.md";
const OWN_PRECISION =
	"the optimizer keeps float32 weights and moments and gradients are added up in float32, also with --bf16; leave it out";
const IN_ROWS =
	"a training row carries the question as the judge read it; leave it out here and give it to `sample`, or as --prompt_template there";

const REFUSED: Readonly<Record<string, Refusal>> = {
	use_mp_opt: { reason: OWN_PRECISION },
	grad_accum_dtype: { reason: OWN_PRECISION, accepts: ["fp32", "float32"] },
	gradient_checkpointing_use_reentrant: { reason: "there is one kind of --gradient_checkpointing; leave it out" },
	zero_stage: {
		reason:
			"one process shares nothing out, and `train --processes N` has stages 1 and 2: optimizer states, and gradients. Weights (stage 3) are whole variables in each process, read by evaluation, sampling and saving as well as by training steps; for shards of them: train --engine lightrft, llamafactory or trl",
		accepts: ["0"],
	},
	zpg: { reason: ONE_PROCESS, accepts: ["1"] },
	adam_offload: { reason: ONE_PROCESS },
	overlap_comm: {
		reason: "with --zero_stage 2 gradients are exchanged while the backward pass goes on, without them after it; leave it out",
	},
	fsdp: { reason: ONE_PROCESS },
	fsdp_cpu_offload: { reason: ONE_PROCESS },
	sp_size: { reason: ONE_PROCESS, accepts: ["1"] },
	local_rank: {
		reason: "processes are started by --processes N, or with --workers and --rank on many machines, not by torchrun; leave this out",
		accepts: ["-1"],
	},
	flash_attn: {
		reason:
			"attention runs on TensorFlow's MatMul and Softmax kernels, which have no FlashAttention; leave it out, the result is the same up to rounding. Memory grows with the square of the length: a smaller --max_pixels shortens prompts most",
	},
	fused_linear_logprob: { reason: "logits are computed for labelled tokens only; leave it out" },
	chunk_size: { reason: "it belongs to --fused_linear_logprob, which is not needed here; leave it out" },
	lora_rank: { reason: WHERE_LORA_IS, accepts: ["0"] },
	lora_alpha: { reason: WHERE_LORA_IS, accepts: ["0"] },
	lora_dropout: { reason: WHERE_LORA_IS, accepts: ["0"] },
	target_modules: { reason: WHERE_LORA_IS },
	engine_type: { reason: NO_ENGINE },
	engine_tp_size: { reason: NO_ENGINE, accepts: ["1"] },
	tensor_parallel_size: { reason: NO_ENGINE, accepts: ["1"] },
	engine_mem_util: { reason: NO_ENGINE },
	gpu_memory_utilization: { reason: NO_ENGINE },
	enable_engine_sleep: { reason: NO_ENGINE },
	disable_engine_sleep: { reason: NO_ENGINE },
	rm_use_engine: { reason: NO_ENGINE },
	rm_engine_cudagraph: { reason: NO_ENGINE },
	use_wandb: { reason: NO_WANDB },
	wandb_org: { reason: NO_WANDB },
	wandb_group: { reason: NO_WANDB },
	wandb_project: { reason: NO_WANDB },
	wandb_run_name: { reason: NO_WANDB },
	plot_every: { reason: "nothing is plotted; `tensorboard --logdir` draws what is in --log_dir" },
	ckpt_path: { reason: "checkpoints go to checkpoint-<step> folders inside --save_path; leave it out" },
	load_checkpoint: { reason: "--resume_from_checkpoint auto does that; or name the checkpoint, SAVE_PATH/checkpoint-<step>" },
	max_ckpt_mem: { reason: "checkpoints are limited by number: --max_ckpt_num" },
	eval_data: { reason: "a judge is evaluated on preference pairs: --eval_data_path hpdv3:heldout.json" },
	eval_data_path: { reason: "`evaluate` is the command for it: --data_path hpdv3:heldout.json" },
	task_instruction: { reason: IN_ROWS },
	input_template: { reason: IN_ROWS },
	fps: { reason: "images only, no video; leave it out" },
	mixed_mm_data: { reason: "rows with and without images mix as they are; leave it out" },
	disable_fast_tokenizer: { reason: "there is one tokenizer, the checkpoint's tokenizer.json; leave it out" },
};

/** Every refused flag but those that the command has itself. */
export function refusedFlags(ownFlags: readonly string[]): string[] {
	return Object.keys(REFUSED).filter((name) => !ownFlags.includes(name));
}

/**
 * @param name a refused flag
 * @param value as given: text, a config file's value, or null for a bare flag
 * @param where the flag or key as the user wrote it
 * @throws UsageError unless the value asks for what is done anyway
 */
export function refuseFlag(name: string, value: unknown, where: string): void {
	const { reason, accepts = [] } = REFUSED[name];
	if (value === false || (value !== null && accepts.includes(String(value)))) return;
	const got = value === null || value === true ? "" : ` ${String(value)}`;
	throw new UsageError(`${where}${got} can't be honoured in this version: ${reason}`);
}
