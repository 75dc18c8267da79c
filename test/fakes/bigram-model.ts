/**
 * The smallest model that can be trained: the next character from this one. Real ops on real variables, so the trainer
 * runs whole; text is its characters' codes, an image is one token (code 1) with four pixel values, the same for all.
 * `visual.weight` is reached only by batches with images.
 */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import {
	add,
	matMul,
	mul,
	oneHot,
	reshape,
	type Tensor2D,
	type Tensor3D,
	tanh,
	tensor1d,
	tensor2d,
	tidy,
	type Variable,
	variable,
} from "../../src/backend/tf.js";
import {
	type EncodedConversation,
	type GenerateResult,
	ImageError,
	type Message,
	type ModelInputs,
	type Processor,
	type TrainableModel,
} from "../../src/model/generative-model.js";

const VOCAB = 128;
const HIDDEN = 8;
const IMAGE_TOKEN = 1;
const END_TOKEN = 2;

/** An image of this path can't be read. */
export const BROKEN_IMAGE = "broken.png";

const processor: Processor = {
	async encodeConversation(conversation: Message[]): Promise<EncodedConversation> {
		const ids: number[] = [];
		const mask: number[] = [];
		const images: EncodedConversation["images"] = [];
		for (const { role, content } of conversation) {
			const said: number[] = [];
			for (const part of typeof content === "string" ? [{ type: "text" as const, text: content }] : content) {
				if (part.type === "text") said.push(...[...part.text].map((c) => c.charCodeAt(0) % VOCAB));
				else {
					if (String(part.image).endsWith(BROKEN_IMAGE)) throw new ImageError(String(part.image), "not an image");
					said.push(IMAGE_TOKEN);
					images.push({ gridThw: [1, 1, 1], pixelValues: { data: Float32Array.of(1, 2, 3, 4), shape: [1, 4] } });
				}
			}
			said.push(END_TOKEN);
			ids.push(...said);
			mask.push(...said.map(() => (role === "assistant" ? 1 : 0)));
		}
		return { inputIds: Int32Array.from(ids), assistantMask: Uint8Array.from(mask), images };
	},
	collate(encoded: EncodedConversation[], { paddingSide = "left" } = {}): ModelInputs {
		const length = Math.max(...encoded.map((e) => e.inputIds.length));
		const shape: [number, number] = [encoded.length, length];
		const inputIds = { data: new Int32Array(encoded.length * length), shape };
		const attentionMask = { data: new Int32Array(encoded.length * length), shape };
		encoded.forEach((e, b) => {
			const from = b * length + (paddingSide === "right" ? 0 : length - e.inputIds.length);
			inputIds.data.set(e.inputIds, from);
			attentionMask.data.fill(1, from, from + e.inputIds.length);
		});
		const images = encoded.flatMap((e) => e.images);
		if (images.length === 0) return { inputIds, attentionMask };
		const pixels = Float32Array.from(images.flatMap((image) => [...image.pixelValues.data]));
		return { inputIds, attentionMask, pixelValues: { data: pixels, shape: [images.length, 4] } };
	},
	async encode(conversations, options) {
		return this.collate(await Promise.all(conversations.map((c) => this.encodeConversation(c))), options);
	},
	decode: (tokens) => Array.from(tokens, (t) => String.fromCharCode(t)).join(""),
};

/** Deterministic values in [−0.5, 0.5). */
const noise = (n: number, seed: number) =>
	Float32Array.from({ length: n }, (_, i) => (Math.abs(Math.sin(seed * 7919 + i * 12.9898)) % 1) - 0.5);

type PreparedBatch = { batch: number; length: number; hot: Tensor2D; isImage?: Tensor2D; pixels?: Tensor2D };

export class BigramModel implements TrainableModel {
	readonly processor = processor;
	/** Forward passes so far. */
	passes = 0;
	/** Set to the number of the pass whose result is to be NaN. */
	poisonPass = Number.POSITIVE_INFINITY;
	private readonly parameters: Map<string, Variable>;

	constructor(seed = 1) {
		this.parameters = new Map<string, Variable>([
			["model.embed.weight", variable(tensor2d(noise(VOCAB * HIDDEN, seed), [VOCAB, HIDDEN]))],
			["model.norm.weight", variable(tensor1d(new Float32Array(HIDDEN).fill(1)))],
			["visual.weight", variable(tensor2d(noise(4 * HIDDEN, seed + 1), [4, HIDDEN]))],
			["lm_head.weight", variable(tensor2d(noise(VOCAB * HIDDEN, seed + 2), [VOCAB, HIDDEN]))],
		]);
	}

	private weight(name: string): Tensor2D {
		return this.parameters.get(name) as Tensor2D & Variable;
	}

	namedParameters(): Map<string, Variable> {
		return this.parameters;
	}

	prepare({ inputIds, pixelValues }: ModelInputs): PreparedBatch {
		const [batch, length] = inputIds.shape;
		const hot = tidy(() => oneHot(tensor1d(inputIds.data, "int32"), VOCAB).toFloat() as Tensor2D);
		if (!pixelValues) return { batch, length, hot };
		const isImage = tensor2d(
			Float32Array.from(inputIds.data, (id) => (id === IMAGE_TOKEN ? 1 : 0)),
			[batch * length, 1],
		);
		return { batch, length, hot, isImage, pixels: tensor2d(pixelValues.data.subarray(0, 4), [1, 4]) }; // all images are alike
	}

	hiddenStates({ batch, length, hot, isImage, pixels }: PreparedBatch): Tensor3D {
		this.passes++;
		let x = mul(tanh(matMul(hot, this.weight("model.embed.weight"))), this.weight("model.norm.weight"));
		if (isImage && pixels) x = add(x, matMul(isImage, matMul(pixels, this.weight("visual.weight"))));
		if (this.passes === this.poisonPass) x = mul(x, Number.NaN);
		return reshape(x, [batch, length, HIDDEN]);
	}

	lmHead(hiddenStates: Tensor2D): Tensor2D {
		return matMul(hiddenStates, this.weight("lm_head.weight"), false, true);
	}

	async save(dir: string): Promise<void> {
		await mkdir(dir, { recursive: true });
		const entries = await Promise.all([...this.parameters].map(async ([name, v]) => [name, Array.from(await v.data())]));
		await writeFile(path.join(dir, "model.json"), JSON.stringify(Object.fromEntries(entries)));
	}

	generate(): Promise<GenerateResult> {
		throw new Error("BigramModel does not generate");
	}

	/** All parameters' values, end to end. */
	async values(): Promise<number[]> {
		const values = await Promise.all([...this.parameters.values()].map((v) => v.data()));
		return values.flatMap((v) => Array.from(v));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		for (const v of this.parameters.values()) v.dispose();
	}
}
