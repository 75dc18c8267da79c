/**
 * Qwen2.5-VL: the vision tower's features take the places of the image tokens among the text embeddings, and the decoder
 * runs over both with M-RoPE positions. The same positions serve training and generation.
 *
 * Legend: B batch, T tokens, N = B·T, C hidden, V vocabulary, M merged image tokens of all images.
 */
import {
	concat,
	dispose,
	gather,
	type Rank,
	reshape,
	type Tensor,
	type Tensor2D,
	type Tensor3D,
	tensor1d,
	tensor4d,
	tidy,
	type Variable,
} from "../../backend/tf.js";
import { MASKED } from "../../nn/attention.js";
import type { KvCache } from "../../nn/kv-cache.js";
import { ParameterScope } from "../../nn/parameter-scope.js";
import { inverseFrequencies, type RotaryTables, rotaryTables } from "../../nn/rotary.js";
import { selectRows } from "../../nn/select-rows.js";
import type { WeightMatrix } from "../../nn/weight-matrix.js";
import type { ForwardOptions, GenerateOptions, GenerateResult, ModelInputs, Processor, TrainableModel } from "../generative-model.js";
import type { Qwen2_5VLConfig } from "./config.js";
import { generate } from "./generate.js";
import { type DecoderPass, LanguageModel } from "./language.js";
import type { SaveModelOptions } from "./load.js";
import { type MropePositions, mropeAngles, mropePositions } from "./mrope.js";
import { VisionTower } from "./vision.js";

/** What the model needs beside its configuration; `loadModel` puts it together. */
export interface Qwen2_5VLParts {
	/** Every tensor of `weightTable(config)`; the model owns them. */
	parameters: Map<string, Variable>;
	processor: Processor;
	/** Tokens that end a row unless the caller names others (generation_config.json). */
	eosTokenIds: readonly number[];
	/** What matrices are multiplied in. */
	dtype: "float32" | "bfloat16";
	/** The matrices are in bfloat16 themselves, without float32 masters: nothing can be trained. */
	frozen: boolean;
	/** One line on the backend and the type that were taken and why. */
	backendReason: string;
	/** Writes the checkpoint folder. */
	save: (dir: string, options?: SaveModelOptions) => Promise<void>;
}

export class Qwen2_5VLModel implements TrainableModel {
	readonly processor: Processor;
	readonly eosTokenIds: readonly number[];
	/** What matrices are multiplied in. */
	readonly dtype: "float32" | "bfloat16";
	readonly backendReason: string;
	/** Exposed for probes and tests; `hiddenStates` is what a user wants. */
	readonly visual: VisionTower;
	readonly language: LanguageModel;
	private readonly frequencies: Float32Array;
	private readonly head: WeightMatrix;

	constructor(
		readonly config: Qwen2_5VLConfig,
		private readonly parts: Qwen2_5VLParts,
	) {
		const root = new ParameterScope(parts.parameters, { bfloat16: parts.dtype === "bfloat16" });
		this.dtype = parts.dtype;
		this.head = root.matrix(config.tieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight");
		this.processor = parts.processor;
		this.eosTokenIds = parts.eosTokenIds;
		this.backendReason = parts.backendReason;
		this.visual = new VisionTower(root.scope("visual"), config.vision);
		this.language = new LanguageModel(root.scope("model"), config.text);
		this.frequencies = inverseFrequencies(config.text.headDim, config.text.ropeTheta);
	}

	/**
	 * Logits of every position.
	 * @returns [B, T, V]; the caller disposes it. Values at padding mean nothing.
	 */
	async forward(inputs: ModelInputs): Promise<Tensor3D> {
		const [batch, length] = inputs.inputIds.shape;
		return tidy(() => {
			const rows: Tensor2D = reshape(this.hiddenStates(inputs), [batch * length, this.config.text.hiddenSize]);
			return reshape<Rank.R3>(this.lmHead(rows), [batch, length, this.config.text.vocabSize]);
		});
	}

	/** @throws the signal's reason when it is aborted */
	generate(inputs: ModelInputs, options: GenerateOptions = {}): Promise<GenerateResult> {
		return generate(this, inputs, options);
	}

	/** @throws for a model whose matrices are in bfloat16 only */
	namedParameters(): Map<string, Variable> {
		if (this.parts.frozen) {
			throw new Error(
				"this model was loaded to sample: its matrices are in bfloat16 only, and there are no float32 weights to train. " +
					'Load it with { trainable: true } (bfloat16 compute, float32 weights) or { dtype: "float32" }',
			);
		}
		return this.parts.parameters;
	}

	/**
	 * Final hidden states [B, T, C], differentiable; call it inside a tidy.
	 * @param options.onLayer sees the hidden states [B·T, C] after each decoder layer
	 */
	hiddenStates(inputs: ModelInputs, options: ForwardOptions & Pick<DecoderPass, "onLayer"> = {}): Tensor3D {
		const [batch, length] = inputs.inputIds.shape;
		const states = this.decode(inputs, this.positions(inputs), options);
		return reshape(this.language.finalNorm(states), [batch, length, this.config.text.hiddenSize]);
	}

	/** Hidden states [N, C] to logits [N, V]; with tied embeddings by the embedding matrix. */
	lmHead(hiddenStates: Tensor2D): Tensor2D {
		return this.head.project(hiddenStates);
	}

	/**
	 * Reads a left-padded prompt into the caches.
	 * @returns logits [B, V] after the last token
	 */
	prefill(inputs: ModelInputs, positions: MropePositions, caches: readonly KvCache[]): Tensor2D {
		const [batch, length] = inputs.inputIds.shape;
		const last = Int32Array.from({ length: batch }, (_, b) => (b + 1) * length - 1);
		const states = gather(this.decode(inputs, positions, { caches }), tensor1d(last, "int32"));
		return this.lmHead(this.language.finalNorm(states));
	}

	/**
	 * One more token per row.
	 * @param tokens [B] the rows' newest tokens
	 * @param tokenPositions [B] their positions, the same on all three axes
	 * @param cachedMask [B, S] 1 on tokens, the new one included
	 * @returns logits [B, V]
	 */
	decodeStep(tokens: Int32Array, tokenPositions: Int32Array, cachedMask: Int32Array, caches: readonly KvCache[]): Tensor2D {
		const batch = tokens.length;
		const positions = new Int32Array(3 * batch);
		for (let axis = 0; axis < 3; axis++) positions.set(tokenPositions, axis * batch);
		const padded = cachedMask.includes(0);
		const mask = padded
			? tensor4d(
					Float32Array.from(cachedMask, (m) => (m ? 0 : MASKED)),
					[batch, 1, 1, cachedMask.length / batch],
				)
			: undefined;
		const pass = { batch, length: 1, rotary: this.rotary(positions), mask, caches };
		return this.lmHead(this.language.finalNorm(this.language.forward(this.language.embed(tensor1d(tokens, "int32")), pass)));
	}

	/** M-RoPE positions [3, B, T] and deltas [B] of a batch. */
	positions({ inputIds, attentionMask, imageGridThw }: ModelInputs): MropePositions {
		return mropePositions(inputIds.data, attentionMask.data, inputIds.shape, {
			imageTokenId: this.config.imageTokenId,
			videoTokenId: this.config.videoTokenId,
			spatialMergeSize: this.config.vision.spatialMergeSize,
			tokensPerSecond: this.config.vision.tokensPerSecond,
			imageGridThw: gridsOf(imageGridThw),
		});
	}

	/** Text embeddings [N, C] with the vision tower's features at the image tokens. */
	embed(inputs: ModelInputs, options: ForwardOptions = {}): Tensor2D {
		const ids = inputs.inputIds.data;
		const text = this.language.embed(tensor1d(ids, "int32"));
		if (!inputs.pixelValues) return text;
		const features = this.visual.forward(inputs.pixelValues, gridsOf(inputs.imageGridThw), options); // [M, C]
		let image = ids.length;
		const index = ids.map((id, n) => (id === this.config.imageTokenId ? image++ : n));
		if (image - ids.length !== features.shape[0]) {
			throw new Error(`the batch has ${image - ids.length} image tokens, but its images give ${features.shape[0]}`);
		}
		return selectRows(concat([text, features], 0), index);
	}

	private decode(
		inputs: ModelInputs,
		{ positionIds }: MropePositions,
		options: Pick<DecoderPass, "caches" | "gradientCheckpointing" | "onLayer">,
	): Tensor2D {
		const [batch, length] = inputs.inputIds.shape;
		const mask = causalMask(inputs.attentionMask.data, batch, length);
		const embeddings = this.embed(inputs, { gradientCheckpointing: options.gradientCheckpointing });
		return this.language.forward(embeddings, { batch, length, rotary: this.rotary(positionIds), mask, ...options });
	}

	/** @param positionIds [3, N] */
	private rotary(positionIds: Int32Array): RotaryTables {
		const angles = mropeAngles(positionIds, this.frequencies, this.config.text.mropeSection);
		return rotaryTables(angles, this.config.text.headDim / 2);
	}

	/** Writes a Hugging Face checkpoint folder. */
	save(dir: string, options?: SaveModelOptions): Promise<void> {
		return this.parts.save(dir, options);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		dispose([...this.parts.parameters.values()]);
	}
}

function gridsOf(imageGridThw: ModelInputs["imageGridThw"]): number[][] {
	if (!imageGridThw) return [];
	const { data, shape } = imageGridThw;
	return Array.from({ length: shape[0] }, (_, i) => Array.from(data.subarray(3 * i, 3 * i + 3)));
}

/** 0 where a token may look, MASKED at later tokens and padding: [B, 1, T, T], or [1, 1, T, T] where no padding precedes a token. */
function causalMask(attentionMask: Int32Array, batch: number, length: number): Tensor {
	const leftPadded = attentionMask.some((m, i) => m === 1 && i % length > 0 && attentionMask[i - 1] === 0);
	const rows = leftPadded ? batch : 1;
	const mask = new Float32Array(rows * length * length);
	for (let b = 0; b < rows; b++) {
		for (let t = 0; t < length; t++) {
			const row = (b * length + t) * length;
			mask.fill(MASKED, row + t + 1, row + length);
			if (leftPadded) for (let s = 0; s <= t; s++) if (!attentionMask[b * length + s]) mask[row + s] = MASKED;
		}
	}
	return tensor4d(mask, [rows, 1, length, length]);
}
