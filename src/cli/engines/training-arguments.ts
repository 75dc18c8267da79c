/**
 * Our flags as transformers' TrainingArguments, which LLaMA-Factory and TRL have in common. Names that transformers 4.55 and 5 both know:
 * steps are counted here, because 5 has no warmup_ratio. https://huggingface.co/docs/transformers/main_classes/trainer
 */
import { join } from "node:path";
import type { TrainOptions } from "../options.js";
import { DEEPSPEED_FILE } from "./deepspeed.js";
import type { Plan } from "./engine.js";

/** The flags that `trainingArguments` translates, and those that decide how it is launched. */
export const TRAINING_ARGUMENTS = [
	...["engine", "launch", "ray", "engine_files", "gpus_per_node", "nnodes", "zero_stage", "adam_offload", "overlap_comm", "overwrite"],
	...["pretrain", "save_path", "train_data", "data_root", "prompt_template", "log_dir", "resume_from_checkpoint", "seed"],
	...["train_batch_size", "micro_train_batch_size", "max_epochs", "max_steps", "actor_learning_rate", "lr_scheduler", "lr_warmup_ratio"],
	...["lr_warmup_steps", "min_lr_ratio", "lr_decay_ratio", "lr_decay_steps", "optim", "l2", "adam_betas", "max_norm"],
	...["label_smoothing_factor", "neftune_noise_alpha", "save_steps", "max_ckpt_num", "logging_steps", "dtype", "bf16"],
] as (keyof TrainOptions)[];

export function trainingArguments(plan: Plan): Record<string, unknown> {
	const { options, gpus, zeroStage } = plan;
	const [beta1, beta2] = options.adam_betas;
	return {
		output_dir: plan.savePath,
		per_device_train_batch_size: options.micro_train_batch_size,
		gradient_accumulation_steps: plan.accumulation,
		num_train_epochs: options.max_epochs,
		// Transformers would train beyond the epochs for it.
		...(options.max_steps !== undefined && { max_steps: plan.steps }),
		learning_rate: options.actor_learning_rate,
		...schedule(plan),
		warmup_steps: plan.warmupSteps,
		optim: options.optim === "adafactor" ? "adafactor" : "adamw_torch",
		adam_beta1: beta1,
		adam_beta2: beta2,
		weight_decay: options.l2,
		max_grad_norm: options.max_norm,
		...(options.label_smoothing_factor > 0 && { label_smoothing_factor: options.label_smoothing_factor }),
		...(options.neftune_noise_alpha > 0 && { neftune_noise_alpha: options.neftune_noise_alpha }),
		bf16: plan.bf16,
		...(gpus === 0 && { use_cpu: true }),
		...(zeroStage > 0 && { deepspeed: join(plan.folder, DEEPSPEED_FILE) }),
		seed: options.seed,
		logging_steps: options.logging_steps,
		report_to: plan.logDir === undefined ? "none" : "tensorboard",
		...saving(options),
		...(plan.resumeFrom !== undefined && { resume_from_checkpoint: plan.resumeFrom }),
	};
}

/** Transformers' `constant` has no warm-up, and its schedules' own arguments are JSON. */
function schedule({ options: { lr_scheduler: name, min_lr_ratio: ratio }, decaySteps }: Plan): Record<string, unknown> {
	if (name === "constant") return { lr_scheduler_type: "constant_with_warmup" };
	if (name === "cosine_with_min_lr") return { lr_scheduler_type: name, lr_scheduler_kwargs: JSON.stringify({ min_lr_rate: ratio ?? 0.1 }) };
	if (name !== "warmup_stable_decay") return { lr_scheduler_type: name };
	return { lr_scheduler_type: name, lr_scheduler_kwargs: JSON.stringify({ num_decay_steps: decaySteps, min_lr_ratio: ratio ?? 0 }) };
}

function saving({ save_steps, max_ckpt_num }: TrainOptions): Record<string, unknown> {
	return {
		...(save_steps === undefined ? { save_strategy: "no" } : { save_strategy: "steps", save_steps }),
		...(max_ckpt_num !== undefined && { save_total_limit: max_ckpt_num }),
	};
}

/** Where transformers 5 writes TensorBoard's events; earlier ones write them to output_dir/runs. */
export const loggingEnvironment = ({ logDir }: Plan): Record<string, string> =>
	logDir === undefined ? {} : { TENSORBOARD_LOGGING_DIR: logDir };
