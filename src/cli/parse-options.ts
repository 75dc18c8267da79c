/** The one place where options are parsed. What is given on the command line goes before the config file. */
import type { z } from "zod";
import { flagInfo } from "./flag.js";
import { normaliseKey } from "./normalise-flags.js";
import { UsageError } from "./usage-error.js";

/** Other names that flags go by. */
export const ALIASES: Readonly<Record<string, string>> = {
	use_tensorboard: "log_dir",
	weight_decay: "l2",
	learning_rate: "actor_learning_rate",
	warmup_ratio: "lr_warmup_ratio",
	warmup_steps: "lr_warmup_steps",
	lr_scheduler_type: "lr_scheduler",
	optimizer: "optim",
	packing_samples: "packing",
	save_total_limit: "max_ckpt_num",
	lora_target_modules: "target_modules",
	lora_r: "lora_rank",
};

/** Values of a config file, and its name for messages. */
export interface ConfigValues {
	file: string;
	/** Keys already in the flags' spelling. */
	values: Readonly<Record<string, unknown>>;
}

/**
 * Checks flags and config together; a flag goes before the config's key.
 * @throws UsageError that names every flag or key that is wrong: expected, got.
 */
export function parseOptions<T extends z.ZodObject>(
	schema: T,
	flags: Readonly<Record<string, unknown>>,
	config?: ConfigValues,
): z.output<T> {
	const given: Record<string, unknown> = { ...config?.values, ...flags };
	const parsed = schema.safeParse(given);
	if (parsed.success) return parsed.data;
	const lines = parsed.error.issues.map((issue) => {
		const key = String(issue.path[0] ?? "");
		const where = config && !(key in flags) && key in config.values ? `${config.file}: ${key}` : `--${key}`;
		if (given[key] === undefined) return `${where} is missing: ${flagInfo(schema.shape[key] as z.ZodType).help}`;
		return `${where}: ${issue.message}${issue.message.includes("got ") ? "" : `, got ${JSON.stringify(given[key])}`}`;
	});
	throw new UsageError([...new Set(lines)].join("\n"));
}

/** A config file's keys in the flags' spelling. @throws UsageError for a key given in two spellings. */
export function normaliseConfig(file: string, values: Readonly<Record<string, unknown>>): ConfigValues {
	const normalised: Record<string, unknown> = {};
	for (const [key, value] of Object.entries(values)) {
		const name = normaliseKey(key, ALIASES);
		if (name in normalised) throw new UsageError(`${file}: ${key}: expected each option once, got ${name} in two spellings`);
		normalised[name] = value;
	}
	return { file, values: normalised };
}
