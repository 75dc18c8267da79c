/**
 * The passes of generation as functions of tensors alone, each compiled: the vision tower, the reading of prompts, and one decode step.
 * They run off the event loop, from their first call on: they are traced, not recorded. Each size of its inputs is a graph of its own.
 *
 * Legend: B rows, T prompt tokens, S columns of the cache, K key heads, D head dim, V vocabulary, O text hidden size, M image tokens.
 */
import { type CompileOptions, compile } from "../../backend/graph/compile.js";
import type { ResourceVariable } from "../../backend/graph/resource-variable.js";
import { argMax, concat, gather, type Tensor1D, type Tensor2D, type Tensor4D, tidy } from "../../backend/tf.js";
import type { RotaryTables } from "../../nn/rotary.js";
import type { PreparedTokens } from "./prepare.js";
import type { Qwen2_5VLModel } from "./qwen2_5_vl.js";
import type { VisionInputs } from "./vision.js";

/** What a decode step reads; the tensors are the caller's. */
export type DecodeInputs = {
	/** [B] each row's newest token. */
	ids: Tensor1D;
	/** [B, 1, D] at their positions. */
	rotary: RotaryTables;
	/** [B, 1, 1, S] 0 where a row may look, MASKED elsewhere. */
	mask: Tensor4D;
	/** The column that is written, in the cache's axes: from [0, 0, column, 0] to before [0, 0, column + 1, 0]. */
	begin: Tensor1D;
	end: Tensor1D;
	/** The cache, per layer [B, K, S, D]. */
	keys: readonly ResourceVariable[];
	values: readonly ResourceVariable[];
};

/** What looking ahead reads: R rows of the cache, a tree of T tokens behind each, E questions per tree. The tensors are the caller's. */
export type LookAheadInputs = Pick<DecodeInputs, "rotary" | "keys" | "values"> & {
	/** [R·T] */
	ids: Tensor1D;
	/** [R, 1, T, S + T] 0 where a token may look, MASKED elsewhere. */
	mask: Tensor4D;
	/** [R] rows of the cache. */
	slots: Tensor1D;
	/** [R·E] the node after which a token is asked for, among all R·T. */
	nodes: Tensor1D;
	/** [R·E] the token, as its place among all R·E·V logits. */
	next: Tensor1D;
};

/** What a prompt leaves behind. */
export type Prefilled = {
	/** [B, V] after the last token, and [B] the likeliest one. */
	logits: Tensor2D;
	best: Tensor1D;
	/** Per layer [B, K, T, D]. */
	keys: Tensor4D[];
	values: Tensor4D[];
};

export interface Passes {
	/** @returns [M, O] */
	vision(inputs: VisionInputs): Promise<Tensor2D>;
	prefill(prompts: PreparedTokens, features: Tensor2D | undefined): Promise<Prefilled>;
	/** Writes the rows' new keys and values into the cache. @returns logits [B, V] and the likeliest token [B] */
	decode(inputs: DecodeInputs): Promise<{ logits: Tensor2D; best: Tensor1D }>;
	/** @returns [R·E] log-probabilities; the cache stays as it is */
	lookAhead(inputs: LookAheadInputs): Promise<Tensor1D>;
	/** Graphs held now. */
	readonly signatures: number;
	/** How decode steps run, and why. */
	readonly reason: string;
	dispose(): void;
}

/** A function that runs when it is called, as a graph or op by op. */
interface Runnable<Args extends unknown[], Result> {
	runAsync(args: Args): Promise<Result>;
	readonly signatures: number;
	readonly modeReason: string;
	dispose(): void;
}

/** @param eager run op by op, on the event loop */
export function makePasses(model: Qwen2_5VLModel, eager: boolean): Passes {
	const wrap = <Args extends unknown[], Result>(fn: (...args: Args) => Result, options: CompileOptions) =>
		eager ? eagerly(fn) : compile(fn, options);
	const vision = wrap((inputs: VisionInputs) => model.visual.forward(inputs), { name: "vision", trace: true, maxSignatures: 64 });
	const prefill = wrap(
		(prompts: PreparedTokens, features: Tensor2D | undefined): Prefilled => {
			const keys: Tensor4D[] = [];
			const values: Tensor4D[] = [];
			const logits = model.prefill(prompts, features, (layer, k, v) => {
				[keys[layer], values[layer]] = [k, v];
			});
			return { logits, best: argMax(logits, -1) as Tensor1D, keys, values };
		},
		{ name: "prefill", trace: true, maxSignatures: 64 },
	);
	const decode = wrap(
		({ ids, rotary, mask, begin, end, keys, values }: DecodeInputs) => {
			const put = (cache: ResourceVariable, added: Tensor4D) => {
				cache.assignSlice(begin, end, added, [2]);
				return cache.read() as Tensor4D;
			};
			const logits = model.decodeStep(ids, rotary, mask, (layer, k, v) => [put(keys[layer], k), put(values[layer], v)]);
			return { logits, best: argMax(logits, -1) as Tensor1D };
		},
		{ name: "decode", trace: true, maxSignatures: 64 },
	);
	const lookAhead = wrap(
		({ slots, keys, values, ...inputs }: LookAheadInputs) => {
			const behind = (cache: ResourceVariable, added: Tensor4D) => concat([gather(cache.read() as Tensor4D, slots), added], 2);
			return model.tokenLogProbs(inputs, slots.shape[0], (layer, k, v) => [behind(keys[layer], k), behind(values[layer], v)]);
		},
		{ name: "lookAhead", trace: true, maxSignatures: 64 },
	);
	return {
		vision: (inputs) => vision.runAsync([inputs]),
		prefill: (prompts, features) => prefill.runAsync([prompts, features]),
		decode: (inputs) => decode.runAsync([inputs]),
		lookAhead: (inputs) => lookAhead.runAsync([inputs]),
		get signatures() {
			return vision.signatures + prefill.signatures + decode.signatures + lookAhead.signatures;
		},
		get reason() {
			return decode.modeReason;
		},
		dispose() {
			for (const pass of [vision, prefill, decode, lookAhead]) pass.dispose();
		},
	};
}

function eagerly<Args extends unknown[], Result>(fn: (...args: Args) => Result): Runnable<Args, Result> {
	return {
		runAsync: async (args) => tidy(() => fn(...args) as never) as Result,
		signatures: 0,
		modeReason: "eager, as asked",
		dispose() {},
	};
}
