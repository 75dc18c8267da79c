/** Loads the model that a command works with, and says what it computes on. */
import { frozenBy, type GenerativeModel, isAdapterFolder, type LoraOptions, loadModel, type Qwen2_5VLModel } from "../index.js";
import type { LoraFlags, ModelOptions } from "./options.js";
import { isRemote, openRemote } from "./remote-judge.js";
import type { Session } from "./session.js";

/**
 * @param use.trainable keep float32 weights to train, where the model computes in bfloat16. Default false: half the memory.
 * @param options those of a new adapter among them count where the model is to be trained
 * @param use.freeze patterns of parameters that will not be trained: they need no float32 weights
 * @throws as loadModel does; the signal's reason when the user stopped it meanwhile.
 */
export async function openJudge(
	dir: string,
	options: ModelOptions & Partial<LoraFlags>,
	{ note, signal }: Session,
	{ trainable = false, freeze = [] }: { trainable?: boolean; freeze?: readonly string[] } = {},
): Promise<Qwen2_5VLModel> {
	const { adapter, backend, bf16, min_pixels: minPixels, max_pixels: maxPixels, eager } = options;
	signal.throwIfAborted();
	const dtype = bf16 ? "bfloat16" : options.dtype;
	const lora = trainable ? newAdapter(options) : undefined;
	const goesOn = lora !== undefined && isAdapterFolder(dir);
	if (goesOn) note(`${dir} is an adapter: it is trained further, with its own settings for --lora_rank and the like`);
	const own = goesOn ? {} : { adapter, lora };
	const model = await loadModel(dir, { ...own, backend, dtype, trainable, frozen: frozenBy(freeze), minPixels, maxPixels, eager });
	if (model.adapter) note(`adapter: ${count(model)} parameters on a frozen base`);
	note(`backend: ${model.backendReason}; ${model.executionReason}`);
	return model;
}

function newAdapter({ lora_rank: rank = 0, ...flags }: Partial<LoraFlags>): LoraOptions | undefined {
	if (rank === 0) return undefined;
	return {
		...{ rank, alpha: flags.lora_alpha, dropout: flags.lora_dropout, useRslora: flags.use_rslora },
		...{ targetModules: flags.target_modules, excludeModules: flags.exclude_modules },
		...{ layersToTransform: flags.layers_to_transform, modulesToSave: flags.modules_to_save },
	};
}

function count(model: Qwen2_5VLModel): number {
	return [...model.namedParameters().values()].reduce((sum, { size }) => sum + size, 0);
}

/** A judge to ask and not to train: a checkpoint, or `openai:MODEL@URL`. @throws as openJudge does */
export async function openSampler(
	judge: string,
	options: ModelOptions & { batch_size: number },
	session: Session,
): Promise<GenerativeModel> {
	return isRemote(judge) ? openRemote(judge, options.batch_size, session) : openJudge(judge, options, session);
}
