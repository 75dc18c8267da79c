/** Loads the model that a command works with, and says what it computes on. */
import { loadModel, type Qwen2_5VLModel } from "../index.js";
import type { ModelOptions } from "./options.js";
import type { Session } from "./session.js";

/** @throws as loadModel does; the signal's reason when the user stopped it meanwhile. */
export async function openJudge(dir: string, options: ModelOptions, { note, signal }: Session): Promise<Qwen2_5VLModel> {
	const { backend, min_pixels: minPixels, max_pixels: maxPixels, eager } = options;
	signal.throwIfAborted();
	const model = await loadModel(dir, { backend, minPixels, maxPixels, eager });
	note(`backend: ${model.backendReason}; ${model.executionReason}`);
	return model;
}
