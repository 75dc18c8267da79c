/**
 * LLaMA-Factory: one YAML file. Keys and defaults of examples/train_full/qwen3vl_full_sft.yaml and src/llamafactory/hparams.
 * https://github.com/hiyouga/LLaMA-Factory
 */
import { join } from "node:path";
import type { TrainOptions } from "../options.js";
import { DEEPSPEED_FILE, deepspeedConfig } from "./deepspeed.js";
import type { Engine, Handover, Plan } from "./engine.js";
import { pythonYaml } from "./python-yaml.js";
import { COMMON_REASONS } from "./reasons.js";
import { commandLine } from "./shell.js";
import { loggingEnvironment, TRAINING_ARGUMENTS, trainingArguments } from "./training-arguments.js";

const PARTS = ["vision_tower", "merger"];

export const llamaFactory: Engine = {
	title: "LLaMA-Factory",
	layout: "llama-factory",
	takes: [
		...TRAINING_ARGUMENTS,
		...(["prompt_max_len", "gradient_checkpointing", "freeze", "packing", "min_pixels", "max_pixels", "flash_attn"] as const),
	],
	refuses: {
		...COMMON_REASONS,
		group_by_length:
			"its name in the YAML differs between the transformers that LLaMA-Factory runs on (group_by_length, train_sampling_strategy); add yours there",
		pack_length: "it packs to --prompt_max_len (cutoff_len); leave it out",
		engine_path: "it is LightRFT's; LLaMA-Factory is installed as llamafactory-cli",
	},
	check({ freeze }) {
		return freeze?.some((part) => !PARTS.includes(part))
			? { flag: "freeze", expected: `${PARTS.join(" or ")}: LLaMA-Factory freezes these parts, not names of parameters` }
			: undefined;
	},
	translate,
	remarks: ["LLaMA-Factory cuts conversations longer than --prompt_max_len; our trainer leaves them out"],
};

function translate(plan: Plan): Handover {
	const { folder, zeroStage } = plan;
	const file = join(folder, "llamafactory.yaml");
	return {
		files: {
			"llamafactory.yaml": pythonYaml({ ...method(plan.options), ...dataSet(plan), ...trainingArguments(plan) }),
			...(zeroStage > 0 && { [DEEPSPEED_FILE]: deepspeedConfig(plan) }),
		},
		env: { ...loggingEnvironment(plan), ...launcher(plan) },
		command: commandLine(["llamafactory-cli", "train", file]),
		model: plan.savePath,
	};
}

function method({ freeze = [], gradient_checkpointing, flash_attn }: TrainOptions) {
	return {
		stage: "sft",
		do_train: true,
		finetuning_type: "full",
		// LLaMA-Factory freezes both unless it is told not to.
		freeze_vision_tower: freeze.includes("vision_tower"),
		freeze_multi_modal_projector: freeze.includes("merger"),
		freeze_language_model: false,
		disable_gradient_checkpointing: !gradient_checkpointing,
		flash_attn: flash_attn ? "fa2" : "sdpa",
	};
}

function dataSet({ folder, pretrain, pixels, resumeFrom, options: { prompt_max_len, packing, overwrite } }: Plan) {
	return {
		model_name_or_path: pretrain,
		image_min_pixels: pixels.min,
		image_max_pixels: pixels.max,
		dataset_dir: join(folder, "data"),
		dataset: "rft_sft",
		template: "qwen2_vl",
		cutoff_len: prompt_max_len,
		// It takes no folder that holds anything, or goes on from a checkpoint there.
		...(overwrite && resumeFrom === undefined && { overwrite_output_dir: true }),
		...(packing && { packing: true, neat_packing: true }),
	};
}

/** It starts torchrun itself; MASTER_ADDR and NODE_RANK are the environment's. */
function launcher({ nodes, gpus }: Plan): Record<string, string> {
	return gpus === 0 ? {} : { FORCE_TORCHRUN: "1", NNODES: String(nodes), NPROC_PER_NODE: String(gpus), MASTER_PORT: "20091" };
}
