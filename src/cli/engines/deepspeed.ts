/**
 * DeepSpeed's configuration, for trainers on transformers' Trainer: "auto" is what its arguments say. As LLaMA-Factory's
 * examples/deepspeed/ds_z3_config.json; https://www.deepspeed.ai/docs/config-json/
 */
import type { Plan } from "./engine.js";

export const DEEPSPEED_FILE = "deepspeed.json";

export function deepspeedConfig({ zeroStage, options }: Plan): string {
	const stage3 = {
		stage3_prefetch_bucket_size: "auto",
		stage3_param_persistence_threshold: "auto",
		stage3_max_live_parameters: 1e9,
		stage3_max_reuse_distance: 1e9,
		// Without it there would be nothing to load but shards of the optimizer's.
		stage3_gather_16bit_weights_on_model_save: true,
	};
	const config = {
		train_batch_size: "auto",
		train_micro_batch_size_per_gpu: "auto",
		gradient_accumulation_steps: "auto",
		gradient_clipping: "auto",
		zero_allow_untested_optimizer: true,
		bf16: { enabled: "auto" },
		zero_optimization: {
			stage: zeroStage,
			overlap_comm: options.overlap_comm,
			contiguous_gradients: true,
			reduce_bucket_size: "auto",
			...(options.adam_offload && { offload_optimizer: { device: "cpu", pin_memory: true } }),
			...(zeroStage === 3 && stage3),
		},
	};
	return `${JSON.stringify(config, null, 2)}\n`;
}
