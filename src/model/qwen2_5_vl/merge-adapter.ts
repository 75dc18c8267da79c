/** `mergeAdapter`: an adapter's products added to its base's matrices, as a checkpoint that needs no adapter (peft's merge_and_unload). */
import { type LoadModelOptions, loadModel, type SaveModelOptions } from "./load.js";

export interface MergeAdapterOptions extends Pick<LoadModelOptions, "backend">, Omit<SaveModelOptions, "merge"> {
	/** The base's folder. Default: the one that the adapter names. */
	base?: string;
}

/**
 * Sums are made in float32, and rounded once to the type in which the base is stored.
 * @param adapter folder of a PEFT LoRA adapter
 * @param to receives the checkpoint
 * @throws as loadModel and saveModel do
 */
export async function mergeAdapter(
	adapter: string,
	to: string,
	{ base, backend, ...options }: MergeAdapterOptions = {},
): Promise<void> {
	await using model = await loadModel(base ?? adapter, { backend, ...(base !== undefined && { adapter }) });
	await model.save(to, { ...options, merge: true });
}
