/** `mergeAdapter`: an adapter's products added to its base's matrices, as a checkpoint that needs no adapter (peft's merge_and_unload). */
import { baseFolder } from "./adapter.js";
import { isStoredInBfloat16, type LoadModelOptions, loadModel, type SaveModelOptions } from "./load.js";

export interface MergeAdapterOptions extends Pick<LoadModelOptions, "backend">, Omit<SaveModelOptions, "merge" | "dtype"> {
	/** How weights are stored. Default: bfloat16 where the base's are, else float32. */
	dtype?: SaveModelOptions["dtype"];
	/** The base's folder. Default: the one that the adapter names. */
	base?: string;
}

/**
 * Sums are made in float32, and rounded once.
 * @param adapter folder of a PEFT LoRA adapter
 * @param to receives the checkpoint
 * @throws as loadModel and saveModel do
 */
export async function mergeAdapter(
	adapter: string,
	to: string,
	{ base: given, backend, ...options }: MergeAdapterOptions = {},
): Promise<void> {
	const base = given ?? (await baseFolder(adapter));
	await using model = await loadModel(base, { backend, adapter });
	const { dtype = (await isStoredInBfloat16(base)) ? "bfloat16" : "float32" } = options;
	await model.save(to, { ...options, dtype, merge: true });
}
