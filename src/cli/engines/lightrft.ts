/**
 * LightRFT: the command line of its examples/grm_training (train_grm_vl.py, run_grm_vl.sh). https://github.com/opendilab/LightRFT
 *
 * Its loader gives each GPU train_batch_size / GPUs rows in one forward pass and accumulates over train_batch_size /
 * micro_train_batch_size / GPUs of these, so only equal numbers mean what our flags mean.
 */
import { join } from "node:path";
import type { TrainOptions } from "../options.js";
import type { Engine, Handover, Plan } from "./engine.js";
import { COMMON_REASONS } from "./reasons.js";
import { torchrun } from "./torchrun.js";

const SCRIPT = "examples/grm_training/train_grm_vl.py";
const ALL_CHECKPOINTS = 1_000_000;
const FIXED_SCHEDULE = "LightRFT's schedule is a cosine down to a tenth after a warm-up by ratio";

export const lightRft: Engine = {
	title: "LightRFT",
	layout: "lightrft",
	takes: [
		...(["engine", "launch", "ray", "engine_files", "engine_path", "gpus_per_node", "nnodes", "zero_stage", "flash_attn"] as const),
		...(["adam_offload", "overlap_comm", "overwrite", "pretrain", "save_path", "train_data", "data_root", "prompt_template"] as const),
		...(["log_dir", "resume_from_checkpoint", "seed", "train_batch_size", "micro_train_batch_size", "gradient_checkpointing"] as const),
		...(["max_epochs", "prompt_max_len", "actor_learning_rate", "lr_scheduler", "min_lr_ratio", "lr_warmup_ratio", "optim", "l2"] as const),
		...(["adam_betas", "max_norm", "save_steps", "max_ckpt_num", "logging_steps", "max_pixels", "dtype", "bf16"] as const),
	],
	refuses: {
		...COMMON_REASONS,
		max_steps: "LightRFT counts epochs: --max_epochs",
		lr_warmup_steps: `${FIXED_SCHEDULE}: --lr_warmup_ratio`,
		lr_decay_ratio: FIXED_SCHEDULE,
		lr_decay_steps: FIXED_SCHEDULE,
		freeze: "LightRFT trains all parameters; leave it out",
		label_smoothing_factor: "LightRFT's loss has none; leave it out",
		neftune_noise_alpha: "LightRFT has none; leave it out",
		group_by_length: "LightRFT shuffles rows; leave it out",
		packing: "LightRFT's reward-model trainer does not pack; leave it out",
		min_pixels: "LightRFT takes the most pixels only; set it in the preprocessor_config.json of --pretrain",
	},
	check(options) {
		const { gpus_per_node = 8, nnodes = 1, train_batch_size, micro_train_batch_size } = options;
		if (options.engine_path === undefined)
			return { flag: "engine_path", expected: "the folder of LightRFT's clone, on the machines that train" };
		if (gpus_per_node === 0) return { flag: "gpus_per_node", expected: "1 or more: LightRFT needs GPUs" };
		if (options.lr_scheduler !== "cosine_with_min_lr") return { flag: "lr_scheduler", expected: `cosine_with_min_lr: ${FIXED_SCHEDULE}` };
		if ((options.min_lr_ratio ?? 0.1) !== 0.1) return { flag: "min_lr_ratio", expected: `0.1: ${FIXED_SCHEDULE}` };
		if (options.optim !== "adamw") return { flag: "optim", expected: "adamw: LightRFT has no other" };
		if (options.max_norm !== 1) return { flag: "max_norm", expected: "1: LightRFT's script clips there" };
		const resume = options.resume_from_checkpoint;
		if (resume !== undefined && resume !== "auto")
			return { flag: "resume_from_checkpoint", expected: "auto: LightRFT goes on from the newest in --save_path" };
		if (micro_train_batch_size * gpus_per_node * nnodes === train_batch_size) return undefined;
		return {
			flag: "micro_train_batch_size",
			expected: `--train_batch_size / GPUs, ${train_batch_size / gpus_per_node / nnodes}: LightRFT's loader gives each GPU so many rows at once`,
		};
	},
	translate,
	remarks: [
		"LightRFT neither cuts nor leaves out long conversations when it trains",
		"LightRFT puts the question into a system turn and each image into a turn of its own; a judge that was trained so answers best when it is asked so",
	],
};

function translate(plan: Plan): Handover {
	const { options, savePath } = plan;
	return {
		files: {},
		env: {},
		command: torchrun(plan, [join(options.engine_path ?? "", SCRIPT), ...paths(plan), ...numbers(plan), ...switches(plan)]),
		model: join(savePath, "final_checkpoint"),
	};
}

function paths({ pretrain, savePath, folder, logDir }: Plan): string[] {
	return [
		...["--pretrain", pretrain, "--save_path", savePath, "--ckpt_path", savePath],
		...["--train_data", `imagegen-cot-reward-5k:${join(folder, "data", "train.json")}`],
		...(logDir === undefined ? [] : ["--use_tensorboard", logDir]),
	];
}

function numbers({ options, pixels, zeroStage }: Plan): (string | number)[] {
	return [
		...["--train_batch_size", options.train_batch_size, "--micro_train_batch_size", options.micro_train_batch_size],
		...["--max_epochs", options.max_epochs, "--prompt_max_len", options.prompt_max_len, "--max_pixels", pixels.max],
		...["--actor_learning_rate", options.actor_learning_rate, "--lr_warmup_ratio", options.lr_warmup_ratio],
		...["--l2", options.l2, "--adam_betas", ...options.adam_betas, "--seed", options.seed, "--zero_stage", zeroStage],
		...["--logging_steps", options.logging_steps, "--max_ckpt_num", options.max_ckpt_num ?? ALL_CHECKPOINTS],
		...(options.save_steps === undefined ? [] : ["--save_steps", options.save_steps]),
	];
}

function switches({ options, bf16 }: Plan): string[] {
	const on = (name: keyof TrainOptions) => (options[name] ? [`--${name}`] : []);
	return [
		...(bf16 ? ["--bf16"] : []),
		...on("gradient_checkpointing"),
		...on("flash_attn"),
		...on("adam_offload"),
		...on("overlap_comm"),
		...(options.resume_from_checkpoint === "auto" ? ["--load_checkpoint"] : []),
	];
}
