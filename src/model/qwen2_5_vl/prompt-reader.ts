/**
 * Reads prompts: the vision tower over their images, then one pass of the decoder, which leaves keys and values.
 *
 * An image is looked at once: its features are kept under a hash of its pixels, as the same image comes back with the record's other shown
 * order. Images of one size that are not known yet go through the tower together.
 */
import { webcrypto } from "node:crypto";
import { LRUCache } from "lru-cache";
import { concat, dispose, split, type Tensor2D } from "../../backend/tf.js";
import { sizeStep } from "../../nn/size-step.js";
import type { EncodedConversation, ModelInputs } from "../generative-model.js";
import { imageGrids, joinPatches } from "./collate.js";
import type { Passes, Prefilled } from "./passes.js";
import type { PreparedTokens } from "./prepare.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";

/** Most bytes of image features to keep. */
const MAX_FEATURE_BYTES = 256 * 2 ** 20;
/** Most images to go through the tower together. */
const MAX_IMAGES = 8;

/** Prompts that were read; the tensors are the caller's to dispose. */
export interface ReadPrompts extends Prefilled {
	/** T, padding included. */
	columns: number;
	/** [B] tokens of each prompt. */
	lengths: number[];
	/** [B] position of the token after the prompt. */
	nextPositions: number[];
}

type Image = EncodedConversation["images"][number];

export class PromptReader {
	private readonly features = new LRUCache<string, Tensor2D>({
		maxSize: MAX_FEATURE_BYTES,
		sizeCalculation: (features) => features.size * 4,
		dispose: (features) => features.dispose(),
	});

	constructor(
		private readonly model: Qwen2_5VLModel,
		private readonly passes: Passes,
	) {}

	/**
	 * @param prompts padded on the left into one batch
	 * @param signal looked at between the tower and the decoder
	 */
	async read(prompts: readonly EncodedConversation[], signal?: AbortSignal): Promise<ReadPrompts> {
		const { model, passes } = this;
		const lengths = prompts.map(({ inputIds }) => inputIds.length);
		const padToMultipleOf = sizeStep(Math.max(...lengths), 16, 16);
		const images = prompts.flatMap((prompt) => prompt.images);
		// The patches stay where they are: the tower gets those of images that are not known yet.
		const texts = prompts.map((prompt) => ({ ...prompt, images: [] }));
		const tokensOnly = model.processor.collate(texts, { paddingSide: "left", padToMultipleOf });
		const inputs: ModelInputs = { ...tokensOnly, ...(images.length > 0 && { imageGridThw: imageGrids(images) }) };
		const positions = model.positions(inputs);
		const features = images.length > 0 ? await this.featuresOf(images) : undefined;
		let tokens: PreparedTokens | undefined;
		try {
			signal?.throwIfAborted();
			tokens = model.prepareTokens(inputs, positions);
			const prefilled = await passes.prefill(tokens, features);
			const nextPositions = lengths.map((length, b) => length + positions.ropeDeltas[b]);
			return { ...prefilled, columns: inputs.inputIds.shape[1], lengths, nextPositions };
		} finally {
			dispose([tokens ?? [], features ?? []]);
		}
	}

	dispose(): void {
		this.features.clear();
	}

	/** @returns [M, O] of all images, one after another; the caller's to dispose */
	private async featuresOf(images: readonly Image[]): Promise<Tensor2D> {
		const keys = await Promise.all(images.map(imageKey));
		const missing = new Map(keys.map((key, i) => [key, images[i]] as const).filter(([key]) => !this.features.has(key)));
		const found = new Map(keys.filter((key) => !missing.has(key)).map((key) => [key, this.features.get(key)?.clone() as Tensor2D]));
		try {
			for (const group of sameSize([...missing])) for (const [key, features] of await this.look(group)) found.set(key, features);
			return concat(
				keys.map((key) => found.get(key) as Tensor2D),
				0,
			);
		} finally {
			for (const features of found.values()) features.dispose();
		}
	}

	/** Runs the tower over new images of one size and keeps their features. */
	private async look(images: readonly [string, Image][]): Promise<[string, Tensor2D][]> {
		const own = images.map(([, image]) => image);
		const grids = own.map(({ gridThw }) => gridThw);
		const inputs = this.model.visual.prepare(joinPatches(own), grids);
		const features = await this.passes.vision(inputs).finally(() => dispose(inputs));
		const parts: Tensor2D[] = images.length === 1 ? [features.clone()] : split(features, images.length, 0);
		features.dispose();
		return images.map(([key], i) => {
			const kept = parts[i].clone();
			this.features.set(key, kept);
			if (!this.features.has(key)) kept.dispose(); // larger than all that may be kept
			return [key, parts[i]];
		});
	}
}

/** A hash of the pixels, made off the event loop. */
async function imageKey({ pixelValues: { data, shape }, gridThw }: Image): Promise<string> {
	const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
	return `${Buffer.from(await webcrypto.subtle.digest("SHA-1", bytes)).toString("base64")} ${shape} ${gridThw}`;
}

/** Images by size, in groups of a power of two: few shapes for the tower, and so few graphs. */
function sameSize(images: readonly [string, Image][]): [string, Image][][] {
	const bySize = new Map<string, [string, Image][]>();
	for (const image of images) {
		const size = `${image[1].gridThw}`;
		bySize.set(size, [...(bySize.get(size) ?? []), image]);
	}
	return [...bySize.values()].flatMap((group) => {
		const groups: [string, Image][][] = [];
		for (let from = 0; from < group.length; ) {
			const size = Math.min(MAX_IMAGES, 2 ** Math.floor(Math.log2(group.length - from)));
			groups.push(group.slice(from, from + size));
			from += size;
		}
		return groups;
	});
}
