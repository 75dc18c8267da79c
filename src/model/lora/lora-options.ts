/** What a new adapter can be told; names and defaults are LightRFT's and PEFT's. */
import { type AdapterConfig, checkAdapterConfig } from "./adapter-config.js";

export interface LoraOptions {
	/** Columns of the added product. Default 8. */
	rank?: number;
	/** The product is scaled by alpha / rank. Default 16. */
	alpha?: number;
	/** Part of an adapter's inputs set to 0 while training, from 0 to below 1. Default 0. */
	dropout?: number;
	/**
	 * Modules by transformers' names (`model.language_model.layers.0.self_attn.q_proj`), as PEFT takes them: a list of last parts (`["q_proj", "v_proj"]`), a
	 * regular expression over whole names, or `all-linear`: every linear layer of decoder and vision tower, not the head. Default `all-linear`.
	 */
	targetModules?: string | readonly string[];
	/** In the same forms: modules that get none all the same. Default: none. */
	excludeModules?: string | readonly string[];
	/** Numbers of layers that get one, where `targetModules` is a list. Default: all. */
	layersToTransform?: readonly number[];
	/** The layers' own name, where both towers have a layer of a number: `layers` or `blocks`. Default: both count. */
	layersPattern?: string;
	/** Scale by alpha / √rank (Kalajdzievski 2023). Default false. */
	useRslora?: boolean;
	/** Modules that are trained whole and saved with the adapter, by the ends of their names: `lm_head`, `merger`. Default: none. */
	modulesToSave?: readonly string[];
	/** Of the draw of A; B begins at 0. Default 42. */
	seed?: number;
}

/**
 * @param base the base's folder, for the file
 * @throws naming each option that is out of range, by PEFT's name
 */
export function newAdapterConfig(options: LoraOptions, base: string): AdapterConfig {
	const { rank = 8, alpha = 16, dropout = 0, targetModules = "all-linear", useRslora = false } = options;
	return checkAdapterConfig(
		{
			...{ peft_type: "LORA", base_model_name_or_path: base, r: rank, lora_alpha: alpha, lora_dropout: dropout, use_rslora: useRslora },
			target_modules: targetModules,
			exclude_modules: options.excludeModules,
			layers_to_transform: options.layersToTransform,
			layers_pattern: options.layersPattern,
			modules_to_save: options.modulesToSave,
		},
		"lora",
	);
}
