/**
 * Qwen2.5-VL: the vision tower's features take the places of the image tokens among the text embeddings, and the decoder
 * runs over both with M-RoPE positions. The same positions serve training and generation.
 *
 * Legend: B batch, T tokens, N = B·T, C hidden, V vocabulary, M merged image tokens of all images.
 */
import {
	add,
	concat,
	dispose,
	exp,
	gather,
	log,
	max,
	type Rank,
	reshape,
	sub,
	sum,
	type Tensor1D,
	type Tensor2D,
	type Tensor3D,
	type Tensor4D,
	tensor1d,
	tidy,
	type Variable,
} from "../../backend/tf.js";
import { ParameterScope } from "../../nn/parameter-scope.js";
import { inverseFrequencies, type RotaryTables } from "../../nn/rotary.js";
import { selectRows } from "../../nn/select-rows.js";
import type { WeightMatrix } from "../../nn/weight-matrix.js";
import type {
	AdapterFacts,
	ForwardOptions,
	GeneratedSample,
	GenerateOptions,
	GenerateResult,
	GenerateStreamOptions,
	GenerationRequest,
	ModelInputs,
	PrepareOptions,
	Processor,
	TrainableModel,
} from "../generative-model.js";
import type { Adapter } from "./adapter.js";
import type { Qwen2_5VLConfig } from "./config.js";
import { checkSampling, generate } from "./generate.js";
import { generateStream } from "./generate-stream.js";
import { type DecoderPass, LanguageModel } from "./language.js";
import type { SaveModelOptions } from "./load.js";
import type { MropePositions } from "./mrope.js";
import { type LookAheadInputs, makePasses, type Passes } from "./passes.js";
import { causalMask, gridsOf, type PreparedBatch, type PreparedTokens, positionsOf, prepareTokens, rotaryAt } from "./prepare.js";
import { VisionTower } from "./vision.js";

/** What the model needs beside its configuration; `loadModel` puts it together. */
export interface Qwen2_5VLParts {
	/** Every tensor of `weightTable(config)`, and the adapter's; the model owns them. */
	parameters: Map<string, Variable>;
	/** Low-rank additions to some of them; then nothing else is trained. */
	adapter?: Adapter;
	processor: Processor;
	/** Tokens that end a row unless the caller names others (generation_config.json). */
	eosTokenIds: readonly number[];
	/** What matrices are in memory, unless there are float32 masters. */
	dtype: "float32" | "bfloat16" | "int8";
	/** What they are multiplied in. */
	compute: "float32" | "bfloat16";
	/** The matrices are in that type themselves, without float32 masters: nothing can be trained. */
	frozen: boolean;
	/** One line on the backend and the type that were taken and why. */
	backendReason: string;
	/** Run generation op by op instead of as graphs. Default false. */
	eager?: boolean;
	/** Writes the checkpoint folder. */
	save: (dir: string, options?: SaveModelOptions) => Promise<void>;
}

export class Qwen2_5VLModel implements TrainableModel {
	readonly processor: Processor;
	readonly eosTokenIds: readonly number[];
	/** What matrices are multiplied in; with `int8`, what they are kept in. */
	readonly dtype: "float32" | "bfloat16" | "int8";
	readonly backendReason: string;
	/** Exposed for probes and tests; `hiddenStates` is what a user wants. */
	readonly visual: VisionTower;
	readonly language: LanguageModel;
	private readonly frequencies: Float32Array;
	private readonly head: WeightMatrix;
	private readonly passes: Passes;

	constructor(
		readonly config: Qwen2_5VLConfig,
		private readonly parts: Qwen2_5VLParts,
	) {
		const root = new ParameterScope(parts.parameters, { bfloat16: parts.compute === "bfloat16", adapters: parts.adapter?.matrices });
		this.dtype = parts.dtype;
		this.head = root.matrix(config.tieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight");
		this.processor = parts.processor;
		this.eosTokenIds = parts.eosTokenIds;
		this.backendReason = parts.backendReason;
		this.visual = new VisionTower(root.scope("visual"), config.vision);
		this.language = new LanguageModel(root.scope("model"), config.text);
		this.frequencies = inverseFrequencies(config.text.headDim, config.text.ropeTheta);
		this.passes = makePasses(this, parts.eager ?? false);
	}

	/** Whether generation runs as compiled graphs, and why. */
	get executionReason(): string {
		return this.passes.reason;
	}

	/** Compiled graphs of generation that are held now: one per size of batch and cache, of prompts and of images. */
	get signatures(): number {
		return this.passes.signatures;
	}

	/**
	 * Logits of every position.
	 * @returns [B, T, V]; the caller disposes it. Values at padding mean nothing.
	 */
	async forward(inputs: ModelInputs): Promise<Tensor3D> {
		const [batch, length] = inputs.inputIds.shape;
		return tidy(() => {
			const rows: Tensor2D = reshape(this.hiddenStates(this.prepare(inputs)), [batch * length, this.config.text.hiddenSize]);
			return reshape<Rank.R3>(this.lmHead(rows), [batch, length, this.config.text.vocabSize]);
		});
	}

	/** @throws the signal's reason when it is aborted */
	generate(inputs: ModelInputs, options: GenerateOptions = {}): Promise<GenerateResult> {
		return generate(this, this.passes, inputs, options);
	}

	/** @throws RangeError for options out of range; see GenerativeModel */
	generateStream(
		requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>,
		options: GenerateStreamOptions = {},
	): AsyncGenerator<GeneratedSample> {
		checkSampling(options);
		return generateStream(this, this.passes, requests, options);
	}

	get adapter(): AdapterFacts | undefined {
		return this.parts.adapter?.facts;
	}

	/** @throws for a model whose matrices are in bfloat16 only */
	namedParameters(): Map<string, Variable> {
		if (this.parts.adapter) return this.parts.adapter.parameters;
		if (this.parts.frozen) {
			throw new Error(
				`this model was loaded to sample: its matrices are in ${this.dtype} only, and there are no float32 weights to train. ` +
					'Load it with { trainable: true } (bfloat16 compute, float32 weights) or { dtype: "float32" }',
			);
		}
		return this.parts.parameters;
	}

	/** Puts a batch and its images on the device, for `hiddenStates`. */
	prepare(inputs: ModelInputs, options?: PrepareOptions): PreparedBatch {
		const tokens = this.prepareTokens(inputs, this.positions(inputs), options);
		if (!inputs.pixelValues) return tokens;
		return { ...tokens, vision: this.visual.prepare(inputs.pixelValues, gridsOf(inputs.imageGridThw)) };
	}

	/** Puts a batch without its images on the device. */
	prepareTokens(inputs: ModelInputs, positions: MropePositions, options?: PrepareOptions): PreparedTokens {
		const dropoutSeed = this.adapter?.dropout ? options?.dropoutSeed : undefined;
		return prepareTokens(inputs, positions, this.config, this.frequencies, { ...options, dropoutSeed });
	}

	/**
	 * Final hidden states [B, T, C], differentiable; call it inside a tidy.
	 * @param options.onLayer sees the hidden states [B·T, C] after each decoder layer
	 */
	hiddenStates(prepared: PreparedBatch, options: ForwardOptions & Pick<DecoderPass, "onLayer"> = {}): Tensor3D {
		const { batch, length, vision, dropoutSeed } = prepared;
		const features = vision && this.visual.forward(vision, { ...options, dropoutSeed });
		const states = this.decode(prepared, features, options);
		return reshape(this.language.finalNorm(states), [batch, length, this.config.text.hiddenSize]);
	}

	/** Hidden states [N, C] to logits [N, V]; with tied embeddings by the embedding matrix. */
	lmHead(hiddenStates: Tensor2D): Tensor2D {
		return this.head.project(hiddenStates);
	}

	/**
	 * Reads left-padded prompts.
	 * @param features [M, O] of their images, from the vision tower
	 * @param collect takes each layer's keys and values over
	 * @returns logits [B, V] after the last token
	 */
	prefill(prompts: PreparedTokens, features: Tensor2D | undefined, collect: DecoderPass["collect"]): Tensor2D {
		const { batch, length } = prompts;
		const last = Int32Array.from({ length: batch }, (_, b) => (b + 1) * length - 1);
		const states = gather(this.decode(prompts, features, { collect }), tensor1d(last, "int32"));
		return this.lmHead(this.language.finalNorm(states));
	}

	/**
	 * One more token per row.
	 * @param ids [B] the rows' newest tokens
	 * @param rotary at their positions, [B, 1, D]
	 * @param mask [B, 1, 1, S] 0 where a row may look, MASKED elsewhere
	 * @param cached puts each layer's new keys and values to the old ones, and returns all
	 * @returns logits [B, V]
	 */
	decodeStep(ids: Tensor1D, rotary: RotaryTables, mask: Tensor4D | undefined, cached: DecoderPass["cached"]): Tensor2D {
		const pass = { batch: ids.shape[0], length: 1, rotary, mask, cached };
		return this.lmHead(this.language.finalNorm(this.language.forward(this.language.embed(ids), pass)));
	}

	/**
	 * How likely tokens are after others.
	 * @param inputs R rows of T tokens [R·T], and which of them [E] are followed by which token (its place among all E·V logits)
	 * @param cached as for `decodeStep`
	 * @returns log-probabilities [E]
	 */
	tokenLogProbs(
		{ ids, rotary, mask, nodes, next }: Pick<LookAheadInputs, "ids" | "rotary" | "mask" | "nodes" | "next">,
		rows: number,
		cached: DecoderPass["cached"],
	): Tensor1D {
		const pass = { batch: rows, length: ids.shape[0] / rows, rotary, mask, cached };
		const states = gather(this.language.forward(this.language.embed(ids), pass), nodes);
		const logits = this.lmHead(this.language.finalNorm(states));
		const shifted = sub(logits, max(logits, -1, true));
		return sub(gather(reshape(shifted, [-1]), next), log(sum(exp(shifted), -1)));
	}

	/** M-RoPE positions [3, B, T] and deltas [B] of a batch. */
	positions(inputs: ModelInputs): MropePositions {
		return positionsOf(inputs, this.config);
	}

	/** Rotary tables of one new token per row, at `positions` [B] on all three axes. */
	rotaryOf(positions: Int32Array): RotaryTables {
		const axes = new Int32Array(3 * positions.length);
		for (let axis = 0; axis < 3; axis++) axes.set(positions, axis * positions.length);
		return rotaryAt(axes, this.config, this.frequencies);
	}

	/** Text embeddings [N, C] with the vision tower's features [M, C] at the image tokens. */
	embed({ ids, merge, noise }: PreparedTokens, features?: Tensor2D): Tensor2D {
		const plain = this.language.embed(ids);
		const text: Tensor2D = noise ? add(plain, noise) : plain;
		return features && merge ? selectRows(concat([text, features], 0), merge) : text;
	}

	private decode(
		prepared: PreparedTokens,
		features: Tensor2D | undefined,
		options: Pick<DecoderPass, "collect" | "gradientCheckpointing" | "onLayer">,
	): Tensor2D {
		const { batch, length, rotary, present, segments, dropoutSeed } = prepared;
		const mask = causalMask(length, present, segments);
		return this.language.forward(this.embed(prepared, features), { batch, length, rotary, mask, dropoutSeed, ...options });
	}

	/** Writes a Hugging Face checkpoint folder; of an adapter PEFT's folder, unless it is to be merged. */
	save(dir: string, options?: SaveModelOptions): Promise<void> {
		return this.parts.save(dir, options);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.passes.dispose();
		dispose([...this.parts.parameters.values()]);
	}
}
