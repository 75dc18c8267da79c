/**
 * Encoded conversations to one padded batch. Images keep row order: row 0's first image first.
 * Legend: B batch, T tokens, P patches, N images.
 */
import { roundUp } from "../../nn/size-step.js";
import type { CollateOptions, EncodedConversation, Matrix, ModelInputs } from "../generative-model.js";

/**
 * @example collating rows [7, 8] and [9] on the left with pad 0: inputIds [[7, 8], [0, 9]], attentionMask [[1, 1], [0, 1]]
 * @param padTokenId fills the places where the mask is 0
 * @throws RangeError for an empty batch.
 */
export function collate(
	encoded: EncodedConversation[],
	padTokenId: number,
	{ paddingSide = "left", padToMultipleOf = 1 }: CollateOptions = {},
): ModelInputs {
	if (encoded.length === 0) throw new RangeError("collate: no conversations; expected at least one");
	const rows = encoded.length;
	const longest = Math.max(...encoded.map(({ inputIds }) => inputIds.length));
	const columns = roundUp(longest, padToMultipleOf);
	const inputIds = new Int32Array(rows * columns).fill(padTokenId);
	const attentionMask = new Int32Array(rows * columns);
	for (const [row, { inputIds: ids }] of encoded.entries()) {
		const start = row * columns + (paddingSide === "left" ? columns - ids.length : 0);
		inputIds.set(ids, start);
		attentionMask.fill(1, start, start + ids.length);
	}
	const inputs: ModelInputs = {
		inputIds: { data: inputIds, shape: [rows, columns] },
		attentionMask: { data: attentionMask, shape: [rows, columns] },
	};
	if (encoded.some(({ segmentLengths }) => segmentLengths)) inputs.segmentIds = segmentIds(encoded, columns, paddingSide);
	const images = encoded.flatMap((conversation) => conversation.images);
	if (images.length === 0) return inputs;
	return { ...inputs, pixelValues: joinPatches(images), imageGridThw: imageGrids(images) };
}

/** @example conversations of 2 and 1 tokens packed into a row of 4: [1, 1, 2, 0] */
function segmentIds(encoded: EncodedConversation[], columns: number, paddingSide: "left" | "right"): Matrix<Int32Array> {
	const data = new Int32Array(encoded.length * columns);
	for (const [row, { inputIds, segmentLengths = [inputIds.length] }] of encoded.entries()) {
		let at = row * columns + (paddingSide === "left" ? columns - inputIds.length : 0);
		for (const [i, length] of segmentLengths.entries()) {
			data.fill(i + 1, at, at + length);
			at += length;
		}
	}
	return { data, shape: [encoded.length, columns] };
}

type Images = EncodedConversation["images"];

/** [N, 3] frames, rows and columns of patches. */
export function imageGrids(images: Images): Matrix<Int32Array> {
	return { data: Int32Array.from(images.flatMap(({ gridThw }) => gridThw)), shape: [images.length, 3] };
}

/** [P, C·t·p·p] the patches of all images, one after another. */
export function joinPatches(images: Images): Matrix<Float32Array> {
	const features = images[0].pixelValues.shape[1];
	const rows = images.reduce((sum, { pixelValues }) => sum + pixelValues.shape[0], 0);
	const data = new Float32Array(rows * features);
	let at = 0;
	for (const { pixelValues } of images) {
		data.set(pixelValues.data, at);
		at += pixelValues.data.length;
	}
	return { data, shape: [rows, features] };
}
