/** Loads the model that a command works with, and says what it computes on. */
import { frozenBy, type GenerativeModel, loadModel, type Qwen2_5VLModel } from "../index.js";
import type { ModelOptions } from "./options.js";
import { isRemote, openRemote } from "./remote-judge.js";
import type { Session } from "./session.js";

/**
 * @param use.trainable keep float32 weights to train, where the model computes in bfloat16. Default false: half the memory.
 * @param use.freeze patterns of parameters that will not be trained: they need no float32 weights
 * @throws as loadModel does; the signal's reason when the user stopped it meanwhile.
 */
export async function openJudge(
	dir: string,
	options: ModelOptions,
	{ note, signal }: Session,
	{ trainable = false, freeze = [] }: { trainable?: boolean; freeze?: readonly string[] } = {},
): Promise<Qwen2_5VLModel> {
	const { backend, bf16, min_pixels: minPixels, max_pixels: maxPixels, eager } = options;
	signal.throwIfAborted();
	const dtype = bf16 ? "bfloat16" : options.dtype;
	const model = await loadModel(dir, { backend, dtype, trainable, frozen: frozenBy(freeze), minPixels, maxPixels, eager });
	note(`backend: ${model.backendReason}; ${model.executionReason}`);
	return model;
}

/** A judge to ask and not to train: a checkpoint, or `openai:MODEL@URL`. @throws as openJudge does */
export async function openSampler(
	judge: string,
	options: ModelOptions & { batch_size: number },
	session: Session,
): Promise<GenerativeModel> {
	return isRemote(judge) ? openRemote(judge, options.batch_size, session) : openJudge(judge, options, session);
}
