/**
 * Which modules an adapter's settings mean, as PEFT reads them (peft tuners/tuners_utils.py, check_target_module_exists; utils/other.py, get_pattern_key).
 * Python's regular expressions are read as JavaScript's: what differs between them (`(?P<name>…)`, `(?i)`) is an error here.
 */
import type { AdapterConfig } from "./adapter-config.js";

const ALL_LINEAR = "all-linear";
/** PEFT's `all-linear` leaves the output embedding out. */
const HEAD = "lm_head";

/** @param name of a linear layer, transformers' spelling */
export function isTarget(config: AdapterConfig, name: string): boolean {
	const { target_modules: targets, exclude_modules: excluded } = config;
	if ((excluded && fits(excluded, name)) || isSaved(config, name)) return false;
	if (typeof targets === "string") return targets.toLowerCase() === ALL_LINEAR ? name !== HEAD : fits(targets, name);
	if (targets.includes(name)) return true;
	return fits(targets, name) && isInLayers(config, name);
}

/** Whether the module lies in one of `modules_to_save`, or is one. PEFT asks for ends of names, whole parts or not: `norm` is `input_layernorm`, too. */
export function isSaved({ modules_to_save: saved }: AdapterConfig, name: string): boolean {
	const parts = name.split(".");
	const around = parts.map((_, i) => parts.slice(0, i + 1).join("."));
	return !!saved && around.some((module) => saved.some((end) => module.endsWith(end)));
}

export function rankOf({ r, rank_pattern }: AdapterConfig, name: string): number {
	return byPattern(rank_pattern, name) ?? r;
}

/** alpha / r, or alpha / √r with rsLoRA. */
export function scalingOf(config: AdapterConfig, name: string): number {
	const rank = rankOf(config, name);
	return (byPattern(config.alpha_pattern, name) ?? config.lora_alpha) / (config.use_rslora ? Math.sqrt(rank) : rank);
}

function fits(wanted: string | readonly string[], name: string): boolean {
	if (typeof wanted === "string") return expression(`^(?:${wanted})$`, wanted).test(name);
	return wanted.some((end) => name === end || name.endsWith(`.${end}`));
}

function isInLayers({ layers_to_transform: wanted, layers_pattern }: AdapterConfig, name: string): boolean {
	if (wanted === undefined || wanted === null || (Array.isArray(wanted) && wanted.length === 0)) return true;
	const given = [layers_pattern ?? []].flat();
	const number = (given.length > 0 ? given : undefined)
		?.map((pattern) => expression(`^(?:.*?\\.)?${pattern}\\.(\\d+)\\.`, pattern).exec(name)?.[1])
		.find((found) => found !== undefined);
	const layer = given.length > 0 ? number : /^.*?\.[^.]*\.(\d+)\./.exec(name)?.[1];
	return layer !== undefined && [wanted].flat().includes(Number(layer));
}

function byPattern(patterns: Readonly<Record<string, number>> | null | undefined, name: string): number | undefined {
	const key = Object.keys(patterns ?? {}).find((pattern) => expression(`^(?:.*\\.)?(?:${pattern})$`, pattern).test(name));
	return key === undefined ? undefined : patterns?.[key];
}

function expression(source: string, given: string): RegExp {
	try {
		return new RegExp(source);
	} catch (cause) {
		throw new Error(`adapter: ${JSON.stringify(given)} is no regular expression here: ${(cause as Error).message}`, { cause });
	}
}
