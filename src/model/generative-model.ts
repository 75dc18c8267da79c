/**
 * The seam between the pipeline and a model: what the sampler, the evaluator and the trainer need, and no more.
 * A concrete port (qwen2_5_vl/) implements it with tensors; `tfjs-rft/testing` implements it with a function.
 *
 * Legend: B batch, T tokens, P patches, N images, C channels, t temporal patch, p patch side, V vocabulary.
 */
import type { Tensor2D, Tensor3D, TensorContainerObject, Variable } from "../backend/tf.js";

/** A piece of a message. `image` is a file path, or the bytes of an encoded image. */
export type ContentPart = { type: "text"; text: string } | { type: "image"; image: string | Buffer };

/** One turn of a conversation, as transformers' processors take it. */
export interface Message {
	role: "system" | "user" | "assistant";
	content: string | ContentPart[];
}

/** A dense row-major matrix outside any backend. */
export interface Matrix<A extends Int32Array | Float32Array> {
	data: A;
	shape: [number, number];
}

/** What a model reads. Images belong to the runs of image tokens in row order: row 0's first image first. */
export interface ModelInputs {
	/** [B, T] */
	inputIds: Matrix<Int32Array>;
	/** [B, T], 1 on tokens and 0 on padding. */
	attentionMask: Matrix<Int32Array>;
	/** [P, C·t·p·p], the patches of all images, concatenated. */
	pixelValues?: Matrix<Float32Array>;
	/** [N, 3]: frames, rows and columns of patches, per image. */
	imageGridThw?: Matrix<Int32Array>;
	/**
	 * [B, T] of packed rows: the number of the conversation that a token is of, from 1, and 0 on padding. Tokens see those of their own
	 * conversation only, and each conversation's positions begin anew. Absent: one conversation a row.
	 */
	segmentIds?: Matrix<Int32Array>;
}

/** One conversation, tokenized, its images preprocessed; not yet padded into a batch. */
export interface EncodedConversation {
	/** [T] token ids, image placeholders expanded. */
	inputIds: Int32Array;
	/** [T] 1 on the tokens that an assistant turn says, its end-of-turn token included; 0 elsewhere. */
	assistantMask: Uint8Array;
	images: { pixelValues: Matrix<Float32Array>; gridThw: [number, number, number] }[];
	/** Tokens of each conversation where several are packed into this one, end to end. */
	segmentLengths?: readonly number[];
}

export interface EncodeOptions {
	/** Append the tokens that open an assistant turn. Default false. */
	addGenerationPrompt?: boolean;
	/** Which side is padded: `left` to generate (the default), `right` to train. */
	paddingSide?: "left" | "right";
	/** Rows are padded to a multiple of so many tokens. Default 1. */
	padToMultipleOf?: number;
}

/** What `collate` takes. */
export type CollateOptions = Pick<EncodeOptions, "paddingSide" | "padToMultipleOf">;

/** Text and images to token ids and pixel values, and back. */
export interface Processor {
	/** Tokenizes one conversation and preprocesses its images. @throws ImageError for an image that can't be read. */
	encodeConversation(conversation: Message[], options?: Pick<EncodeOptions, "addGenerationPrompt">): Promise<EncodedConversation>;
	/** Pads conversations into one batch. */
	collate(encoded: EncodedConversation[], options?: CollateOptions): ModelInputs;
	/** `encodeConversation` for each, then `collate`. */
	encode(conversations: Message[][], options?: EncodeOptions): Promise<ModelInputs>;
	/** Token ids to text, special tokens left out. */
	decode(tokens: ArrayLike<number>): string;
	/** A text's token ids, as those of a turn's text; what guides rows (`answers`) needs it. */
	encodeText?(text: string): number[];
	/** What a token adds to a text; "" for a control token, U+FFFD for a part of a character. */
	textOf?(token: number): string;
}

/** Rows that go round in circles: the same run of tokens several times in a row, up to the newest token. Names and meaning as in vLLM's `repetition_detection`. */
export interface RepetitionDetection {
	/** Most tokens of the run. */
	maxPatternSize: number;
	/** Fewest tokens of it. Default 1. */
	minPatternSize?: number;
	/** How often it must stand there in a row, 2 or more. */
	minCount: number;
}

/** The answers of a row, and what is done about them. */
export interface AnswerOptions {
	/** What may stand between `<answer>` and `</answer>`, such as "Image 1 is better". */
	texts: readonly string[];
	/**
	 * After each `<answer>` that is not inside the reasoning nothing else may come than one of the texts and `</answer>`. Default false.
	 */
	only?: boolean;
	/** Give each text's log-probability at the row's first such `<answer>` (`answerLogProbs`). Default false. */
	score?: boolean;
	/** Rows begin with `<answer>`, which is read with the prompt: no reasoning. Default false. */
	straight?: boolean;
}

export interface GenerateOptions {
	/** Most tokens to generate per row. Default 256. */
	maxNewTokens?: number;
	/** 0 is greedy (the default); otherwise logits are divided by it before sampling. */
	temperature?: number;
	/** Keep the k most likely tokens (ties kept). Default 0: all. */
	topK?: number;
	/** Keep the smallest set of tokens whose probability exceeds p. Default 1: all. */
	topP?: number;
	/** Keep the tokens at least so likely as this share of the likeliest. Default 0: all. */
	minP?: number;
	/** > 1 makes tokens already in the row less likely. Default 1. */
	repetitionPenalty?: number;
	/**
	 * The prompt (row of the inputs) that each generated row continues: `[0, 0, 0, 1, 1, 1]` draws three samples of each of two
	 * prompts, which are read once. Default: each prompt once.
	 */
	promptOfRow?: readonly number[];
	/** Ends a row that goes round in circles, with finishReason `repetition`. Default: none is ended. */
	repetitionDetection?: RepetitionDetection;
	/** What rows answer, and whether that is constrained or scored. Default: anything. */
	answers?: AnswerOptions;
	/** A row that has not closed its `<think>` after so many tokens is made to close it and to open its `<answer>`; needs `answers`. Default: no limit. */
	thinkingBudget?: number;
	/** One seed per generated row (uint32); a row's sample depends on its own seed only, never on its place in the batch. */
	seeds?: readonly number[];
	/** Tokens that end a row. Default: the checkpoint's generation_config.json. */
	eosTokenIds?: readonly number[];
	/** Stops between two decode steps; `generate` then throws the signal's reason. */
	signal?: AbortSignal;
	/** Called after every decode step with the number of rows that ran in it, of `rows` that were computed. */
	onStep?: (running: number, rows: number) => void;
}

/** One prompt and how often to continue it. */
export interface GenerationRequest {
	encoded: EncodedConversation;
	/** One seed per sample (uint32); see GenerateOptions. */
	seeds: readonly number[];
}

export interface GenerateStreamOptions extends Omit<GenerateOptions, "promptOfRow" | "seeds"> {
	/** Rows generated together. Default 32. */
	batchSize?: number;
}

/** One finished row. */
export interface GeneratedSample {
	/** Number of its request, in the order in which they came, from 0. */
	request: number;
	/** Number among the request's samples. */
	sample: number;
	/** The generated ids: the end token included where there was one, no padding. */
	tokens: Int32Array;
	/** Decoded without special tokens. */
	text: string;
	finishReason: FinishReason;
	/** The row was made to close its reasoning (`thinkingBudget`). */
	forced?: boolean;
	/** Log-probability of each of `answers.texts`, `</answer>` included, at the row's `<answer>`; absent where it was not asked for, and where the row has none. */
	answerLogProbs?: readonly number[];
}

/** A row that could not be generated for a reason of its own; the model goes on with the others. */
export interface FailedSample extends Pick<GeneratedSample, "request" | "sample"> {
	error: { kind: "bad-image" | "error"; message: string };
}

/** `stop`: an end token; `length`: `maxNewTokens` reached; `repetition`: it went round in circles (`repetitionDetection`). */
export type FinishReason = "stop" | "length" | "repetition";

export interface GenerateResult {
	/** Per row, the generated ids: the end token included where there was one, no padding. */
	tokens: Int32Array[];
	/** Per row, decoded without special tokens. */
	texts: string[];
	finishReasons: FinishReason[];
	/** Per row, as in GeneratedSample; absent where no row has it. */
	forced?: (boolean | undefined)[];
	answerLogProbs?: (readonly number[] | undefined)[];
}

/** What sampling and evaluation need of a model. */
export interface GenerativeModel extends AsyncDisposable {
	readonly processor: Processor;
	/** Whether rows can be made to say a token (`thinkingBudget`, `answers.only`). Default true. */
	readonly canGuide?: boolean;
	generate(inputs: ModelInputs, options?: GenerateOptions): Promise<GenerateResult>;
	/**
	 * Continuous batching: a row that ends makes room for the next request's at once. Rows come as they end, in any order; a request is asked for
	 * when there will be room. A model without it is asked batch by batch (`generateInBatches`).
	 * @throws what `requests` throws, after the rows that were running then; the signal's reason
	 */
	generateStream?(
		requests: Iterable<GenerationRequest> | AsyncIterable<GenerationRequest>,
		options?: GenerateStreamOptions,
	): AsyncGenerator<GeneratedSample | FailedSample>;
}

export interface ForwardOptions {
	/** Compute layers again in the backward pass instead of keeping their intermediates: less memory, more time. Default false. */
	gradientCheckpointing?: boolean;
}

/** NEFTune's noise on the text embeddings: uniform in ±alpha / √(tokens · channels). */
export interface EmbeddingNoise {
	alpha: number;
	/** Of each conversation of the batch, packed ones one by one (uint32): its noise depends on its own seed and length only. */
	seeds: readonly number[];
}

export interface PrepareOptions {
	/** Default: none. */
	embeddingNoise?: EmbeddingNoise;
	/** Of an adapter's dropout in this pass (uint32). Default: nothing is dropped. */
	dropoutSeed?: number;
}

/**
 * A batch on the device: plain records of tensors and numbers, so that a compiled function can take it. What is in it is the model's own
 * business. Its tensors are the caller's to dispose.
 */
export type PreparedInputs = TensorContainerObject;

/** What a training run must know of an adapter. */
export interface AdapterFacts {
	/** Part of its inputs that is dropped; 0: `PrepareOptions.dropoutSeed` changes nothing. */
	dropout: number;
	/** What decides its numbers, by PEFT's names. */
	settings: Readonly<Record<string, AdapterSetting>>;
}

/** As in JSON. */
export type AdapterSetting = string | number | boolean | null | readonly (string | number)[] | Readonly<Record<string, number>>;

/** What training needs beside: parameters, a forward pass under the gradient tape, and a way to save. */
export interface TrainableModel extends GenerativeModel {
	/** Of a model that trains an adapter on a frozen base; absent: of one that is trained itself. */
	readonly adapter?: AdapterFacts;
	/** Trainable parameters by checkpoint key (the hub's spelling), in a fixed order; those of an adapter where there is one. */
	namedParameters(): Map<string, Variable>;
	/** Puts a batch on the device. */
	prepare(inputs: ModelInputs, options?: PrepareOptions): PreparedInputs;
	/** Final hidden states [B, T, C] of a prepared batch, differentiable; synchronous, to be called inside a tidy. */
	hiddenStates(prepared: PreparedInputs, options?: ForwardOptions): Tensor3D;
	/** Hidden states [N, C] to logits [N, V], differentiable. */
	lmHead(hiddenStates: Tensor2D): Tensor2D;
	/** Writes a Hugging Face checkpoint folder: weights, configs, tokenizer, processor; of an adapter, PEFT's folder: the adapter alone. */
	save(dir: string): Promise<void>;
}

/** What is wrong with an image. `unreadable-image`: the file system's refusal, or a reason that nobody has named. */
export type ImageErrorKind =
	| "missing-image"
	| "not-a-file"
	| "unreadable-image"
	| "empty-image"
	| "not-an-image"
	| "unsupported-image"
	| "damaged-image"
	| "oversized-image"
	| "elongated-image";

/** An image that could not be turned into pixel values; `reason` is for a person. */
export class ImageError extends Error {
	readonly kind: ImageErrorKind;

	constructor(
		readonly image: string,
		readonly reason: string,
		{ kind = "unreadable-image", ...options }: ErrorOptions & { kind?: ImageErrorKind } = {},
	) {
		super(`${image}: ${reason}`, options);
		this.name = "ImageError";
		this.kind = kind;
	}
}

/** A micro-batch's size, for a plan. */
export interface BatchShape {
	rows: number;
	/** Of the padded rows. */
	tokensPerRow: number;
	/** Of all rows. */
	images: number;
	/** Tokens that an image takes in the prompt. */
	tokensPerImage: number;
}

/** How a micro-batch is computed. */
export interface PassOptions {
	bfloat16: boolean;
	/** Whether a parameter is not trained. */
	frozen: (name: string) => boolean;
}

/** What a forward pass keeps for its backward pass, in bytes. */
export interface PassSize {
	kept: number;
	/** With gradient checkpointing: the layers' inputs. */
	keptWithCheckpointing: number;
	/** The largest layer's intermediates: what the backward pass has in work. */
	layer: number;
	/** Operations of the forward pass: 2 for each product of two numbers that is added. */
	flops: number;
}

/** How large a model is, without its weights. */
export interface ModelShape {
	/** Shapes of all parameters, by checkpoint key. */
	readonly parameters: ReadonlyMap<string, readonly number[]>;
	readonly vocabulary: number;
	readonly hiddenSize: number;
	/** Tokens that an image of so many pixels takes. */
	tokensPerImage(pixels: number): number;
	pass(batch: BatchShape, options: PassOptions): PassSize;
}
