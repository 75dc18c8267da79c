/**
 * TRL: its own script, `trl.scripts.sft`, and a YAML file of SFTConfig's and ModelConfig's fields. It wants a release from 1.0 on
 * (images as paths, prompt and completion with images). https://huggingface.co/docs/trl/sft_trainer
 */
import { join } from "node:path";
import { DEEPSPEED_FILE, deepspeedConfig } from "./deepspeed.js";
import type { Engine, Handover, Plan } from "./engine.js";
import { pythonYaml } from "./python-yaml.js";
import { COMMON_REASONS } from "./reasons.js";
import { commandLine } from "./shell.js";
import { torchrun } from "./torchrun.js";
import { loggingEnvironment, TRAINING_ARGUMENTS, trainingArguments } from "./training-arguments.js";

const OF_THE_CHECKPOINT = "TRL takes it from the checkpoint: set it in the preprocessor_config.json of --pretrain";

export const trl: Engine = {
	title: "TRL",
	layout: "trl",
	takes: [...TRAINING_ARGUMENTS, "prompt_max_len", "gradient_checkpointing", "flash_attn"],
	refuses: {
		...COMMON_REASONS,
		freeze: "TRL's script trains all parameters; leave it out, or train with --engine llamafactory (vision_tower, merger)",
		packing: "TRL does not pack rows with images; leave it out",
		group_by_length: "TRL reads images as it goes and knows no lengths before; leave it out",
		min_pixels: OF_THE_CHECKPOINT,
		max_pixels: OF_THE_CHECKPOINT,
		engine_path: "it is LightRFT's; TRL is installed as trl",
	},
	check: () => undefined,
	translate,
	remarks: ["TRL cuts conversations longer than --prompt_max_len; our trainer leaves them out"],
};

function translate(plan: Plan): Handover {
	const { options, folder, gpus, zeroStage } = plan;
	const config = {
		model_name_or_path: plan.pretrain,
		dtype: "float32",
		attn_implementation: options.flash_attn ? "flash_attention_2" : "sdpa",
		dataset_name: join(folder, "data"),
		completion_only_loss: true,
		max_length: options.prompt_max_len,
		gradient_checkpointing: options.gradient_checkpointing,
		...trainingArguments(plan),
	};
	const program = ["-m", "trl.scripts.sft", "--config", join(folder, "trl.yaml")];
	return {
		files: { "trl.yaml": pythonYaml(config), ...(zeroStage > 0 && { [DEEPSPEED_FILE]: deepspeedConfig(plan) }) },
		env: loggingEnvironment(plan),
		command: gpus === 0 ? commandLine(["python", ...program]) : torchrun(plan, program),
		model: plan.savePath,
	};
}
