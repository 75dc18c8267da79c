/** Why flags are not handed over, where several engines have the same reason. */

const AFTERWARDS = "the engine knows no pairs to judge; leave it out and run `tfjs-rft evaluate` on what it trained";
const OWN_BACKEND = "it says what this library computes on; the engine computes on PyTorch. Leave it out";

export const COMMON_REASONS: Readonly<Record<string, string>> = {
	...Object.fromEntries(
		[
			"eval_data_path",
			"eval_data_mapping",
			"eval_image_root",
			"eval_limit",
			"eval_dataset",
			"log_judgements",
			"eval_batch_size",
			"generate_max_len",
			"eval_steps",
			"use_cot",
		].map((name) => [name, AFTERWARDS]),
	),
	metric_for_best_model: AFTERWARDS,
	greater_is_better: AFTERWARDS,
	backend: OWN_BACKEND,
	eager: OWN_BACKEND,
	...Object.fromEntries(
		["processes", "workers", "rank", "ddp_timeout"].map((name) => [
			name,
			"it is our own trainer's; the engine has --gpus_per_node, --nnodes, NODE_RANK and MASTER_ADDR. Leave it out",
		]),
	),
	...Object.fromEntries(
		["lora_rank", "lora_alpha", "lora_dropout", "target_modules", "layers_to_transform", "adapter"].map((name) => [
			name,
			"whole models are handed over; train adapters with --engine ours, or add the engine's own LoRA settings to what is written",
		]),
	),
	stage:
		"conversations are handed over; write pairs for it with `sample` or `filter`, --export llama-factory,trl --export_rows dpo, and start its own DPO, or train with --engine ours",
	dry_run: "what is written without --launch is the plan; leave it out",
	pack_length: "there is no such length in the engine; leave it out",
};
