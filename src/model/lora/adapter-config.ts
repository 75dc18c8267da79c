/**
 * adapter_config.json of PEFT's LoRA (peft tuners/lora/config.py): the one form in which an adapter's settings are known here, whether they come from a
 * file or from options. What this version does not compute is refused, never left out.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { writeWhole } from "../../checkpoint/write-whole.js";
import type { AdapterFacts } from "../generative-model.js";

export const ADAPTER_CONFIG_FILE = "adapter_config.json";

const names = z.union([z.string(), z.array(z.string())]);
const patterns = z.record(z.string(), z.number().positive()).nullish();

/** Settings that are off in an adapter that loads: each changes what is computed or stored. */
const OFF = [
	...["use_dora", "lora_bias", "fan_in_fan_out", "use_qalora", "use_bdlora", "trainable_token_indices", "target_parameters"],
	...["layer_replication", "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config", "monteclora_config"],
];
/** Others (pissa, olora, loftq …) change the base's weights when they begin. */
const PLAIN_STARTS: readonly unknown[] = [undefined, null, true, false, "gaussian", "eva", "orthogonal"];

const adapterConfig = z
	.looseObject({
		peft_type: z.literal("LORA"),
		base_model_name_or_path: z.string().nullish(),
		r: z.int().positive(),
		lora_alpha: z.number().positive(),
		lora_dropout: z.number().min(0).lt(1).default(0),
		use_rslora: z.boolean().default(false),
		target_modules: names,
		exclude_modules: names.nullish(),
		layers_to_transform: z.union([z.int(), z.array(z.int())]).nullish(),
		layers_pattern: names.nullish(),
		modules_to_save: z.array(z.string()).nullish(),
		rank_pattern: patterns,
		alpha_pattern: patterns,
		bias: z.literal("none").default("none"),
	})
	.superRefine((config, context) => {
		const refuse = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
		const isOn = (value: unknown) => !!value && (typeof value !== "object" || Object.keys(value).length > 0);
		for (const key of OFF.filter((key) => isOn(config[key]))) refuse(key, "expected it off: this version does not compute it");
		if (!PLAIN_STARTS.includes(config.init_lora_weights)) {
			refuse("init_lora_weights", "expected true: others change the base's weights; convert the adapter with PEFT when saving it");
		}
		if (typeof config.target_modules === "string" && isOn(config.layers_to_transform)) {
			refuse("layers_to_transform", "expected none where target_modules is a pattern: let the pattern name the layers");
		}
	});

export type AdapterConfig = z.output<typeof adapterConfig>;

/** @throws for a file that is missing, no LoRA adapter's, or asks for what this version can't do */
export async function readAdapterConfig(dir: string): Promise<AdapterConfig> {
	const file = join(dir, ADAPTER_CONFIG_FILE);
	const json = await readFile(file, "utf8").catch((cause: Error) => {
		throw new Error(`${file}: ${cause.message}; expected the folder of a PEFT adapter`, { cause });
	});
	return checkAdapterConfig(JSON.parse(json), file);
}

/** @param where for the message. @throws naming each setting that is wrong */
export function checkAdapterConfig(json: unknown, where: string): AdapterConfig {
	const parsed = adapterConfig.safeParse(json);
	if (!parsed.success) throw new Error(`${where}: ${z.prettifyError(parsed.error)}`);
	return parsed.data;
}

/** Whether the folder holds an adapter and no model. */
export function isAdapterFolder(dir: string): boolean {
	return existsSync(join(dir, ADAPTER_CONFIG_FILE)) && !existsSync(join(dir, "config.json"));
}

/** The settings of peft's own file that decide something, so that older versions of it load the file, too. */
export async function writeAdapterConfig(dir: string, config: AdapterConfig): Promise<void> {
	const { exclude_modules, ...settings } = adapterSettings(config);
	const json = {
		...{ peft_type: "LORA", task_type: "CAUSAL_LM", base_model_name_or_path: config.base_model_name_or_path ?? null, revision: null },
		...{ bias: "none", fan_in_fan_out: false, inference_mode: true, init_lora_weights: true, use_dora: false },
		...settings,
		...(exclude_modules !== null && { exclude_modules }),
	};
	await writeWhole(join(dir, ADAPTER_CONFIG_FILE), (file) => file.writeFile(`${JSON.stringify(json, null, 2)}\n`));
}

/** What decides an adapter's numbers. */
export function adapterSettings(config: AdapterConfig): AdapterFacts["settings"] {
	const { r, lora_alpha, lora_dropout, use_rslora, target_modules } = config;
	return {
		...{ r, lora_alpha, lora_dropout, use_rslora, target_modules },
		exclude_modules: config.exclude_modules ?? null,
		layers_to_transform: config.layers_to_transform ?? null,
		layers_pattern: config.layers_pattern ?? null,
		modules_to_save: config.modules_to_save ?? null,
		rank_pattern: config.rank_pattern ?? {},
		alpha_pattern: config.alpha_pattern ?? {},
	};
}
