/** What flags may be given: checks and readings of values that are more than a number or a word (flag.ts). */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { checkPairMapping, isAdapterFolder, parseSources, type ShardName } from "../index.js";
import { choice, real, text } from "./flag.js";
import { isRemote, parseRemoteJudge } from "./remote-judge.js";

export const isCheckpoint = (dir: string) => existsSync(join(dir, "config.json")) || isAdapterFolder(dir);
export const NO_CHECKPOINT =
	"expected the folder of a Hugging Face checkpoint, with a config.json (download it first; hub names are not resolved)";
export const REMOTE_HAS_NO_WEIGHTS =
	"expected the folder of a checkpoint to train: a remote judge's weights are elsewhere; `sample` with it, `convert`, and `train --pretrain DIR`";

/** A checkpoint to train. */
export const checkpointFolder = () =>
	text("the folder of a checkpoint").superRefine((dir, context) => {
		const message = isRemote(dir) ? REMOTE_HAS_NO_WEIGHTS : NO_CHECKPOINT;
		if (isRemote(dir) || !isCheckpoint(dir)) context.addIssue({ code: "custom", message });
	});

export const adapterFolder = () =>
	text("the folder of a PEFT adapter").refine((dir) => existsSync(join(dir, "adapter_config.json")), {
		error: "expected the folder of a PEFT adapter, with an adapter_config.json",
	});

/** A judge to ask: a checkpoint, or a remote one. */
export const judge = () =>
	text("the folder of a checkpoint, or openai:MODEL@URL").superRefine((name, context) => {
		if (!isRemote(name)) {
			if (!isCheckpoint(name)) context.addIssue({ code: "custom", message: `${NO_CHECKPOINT}, or openai:MODEL@URL[,URL…]` });
			return;
		}
		try {
			parseRemoteJudge(name);
		} catch (error) {
			context.addIssue({ code: "custom", message: (error as Error).message });
		}
	});

/** `a:x,b:y` and repeated flags, as one list. */
export const splitSources = (value: unknown) =>
	(Array.isArray(value) ? value : [value]).flatMap((v) => (typeof v === "string" ? v.split(/,(?=[\w-]+:)/) : [v]));

export const datasetSources = () =>
	z.preprocess(
		(value) => (value === undefined ? value : splitSources(value)),
		z.array(text()).superRefine((sources, context) => {
			try {
				parseSources(sources);
			} catch (error) {
				context.addIssue({ code: "custom", message: (error as Error).message });
			}
		}),
	);

export const hasMapped = (sources?: readonly string[]) => sources?.some((source) => source.startsWith("pairs:")) ?? false;

/** A file with a mapping, or in a config file the mapping itself. */
export const pairMapping = () =>
	z
		.union([text(), z.record(z.string(), z.unknown())], { error: "expected a file, or in a config file a mapping" })
		.transform((given, context) => {
			if (typeof given === "string") return given;
			try {
				return checkPairMapping(given);
			} catch (error) {
				context.addIssue({ code: "custom", message: (error as Error).message });
				return z.NEVER;
			}
		});

/** One text with commas, or a list. */
export const workerAddresses = () =>
	z.preprocess(
		(value) => (typeof value === "string" ? value.split(",").map((address) => address.trim()) : value),
		z.array(text("host:port, such as 10.0.0.1:4400, with commas between")).min(1),
	);

export const shardName = () =>
	z.custom<ShardName>(
		(value) => {
			const [, index, count] = /^(\d{1,9})\/(\d{1,9})$/.exec(String(value)) ?? [];
			return Number(index) >= 1 && Number(index) <= Number(count);
		},
		{ error: "expected i/n with i from 1 to n, such as 1/4 to 4/4" },
	);

/** `imagegen-cot-reward-5k:path.json` or the path alone: every source name of LightRFT's means the same ShareGPT rows. */
export const conversationFiles = () =>
	z.preprocess(
		(value) => (value === undefined ? value : splitSources(value).map((v) => (typeof v === "string" ? v.replace(/^[\w-]{2,}:/, "") : v))),
		z.array(text('ShareGPT files, as "imagegen-cot-reward-5k:path.json" or "path.json"')),
	);

/** Also by the names that transformers has for the same. */
export const OPTIMIZER_ALIASES: Readonly<Record<string, string>> = { adamw_torch: "adamw", adamw_torch_fused: "adamw", adamw_hf: "adamw" };
export const SCHEDULER_ALIASES: Readonly<Record<string, string>> = { wsd: "warmup_stable_decay", constant_with_warmup: "constant" };
/** Names of our scores in transformers and LLaMA-Factory. */
export const METRIC_ALIASES: Readonly<Record<string, string>> = { eval_loss: "loss", eval_accuracy: "accuracy" };
export const orAlias = <T extends z.ZodType>(aliases: Readonly<Record<string, string>>, schema: T) =>
	z.preprocess((value) => (typeof value === "string" && Object.hasOwn(aliases, value) ? aliases[value] : value), schema);

/** One word or several. */
export const words = (expected: string) =>
	z.preprocess((value) => (typeof value === "string" ? [value] : value), z.array(text(expected), { error: `expected ${expected}` }));

export const betas = () =>
	z.preprocess(
		(value) => (Array.isArray(value) ? value : String(value).split(",")),
		z.tuple([real(0, 1), real(0, 1)], { error: "expected two numbers" }),
	);

/** `a,b` as a list of some of the names. */
export const someOf = <const T extends readonly [string, ...string[]]>(...names: T) =>
	z.preprocess((value) => (typeof value === "string" ? value.split(",") : value), z.array(choice(...names)).min(1));

/** Module names as PEFT takes them: one word that is more than a name is a regular expression, and so is `all-linear`. */
export const moduleNames = () =>
	words("names of modules").transform((given) => (given.length === 1 && !/^[\w.]+$/.test(given[0]) ? given[0] : given));
