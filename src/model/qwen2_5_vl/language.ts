/**
 * The decoder: Qwen2 with grouped-query attention and M-RoPE. q, k and v have biases, o_proj has none.
 * Source: transformers models/qwen2_5_vl/modeling_qwen2_5_vl.py, Qwen2_5_VLTextModel.
 *
 * Legend: B batch, T new tokens, N = B·T, S all tokens so far, C hidden, H query heads, K key heads, D head dim.
 * Hidden states stay [N, C] through the layers: a row per token, so that every projection is one 2-D matMul.
 */
import {
	add,
	reshape,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	type Tensor3D,
	type Tensor4D,
	tidy,
	transpose,
	type Variable,
} from "../../backend/tf.js";
import { attention } from "../../nn/attention.js";
import { Embedding } from "../../nn/embedding.js";
import { GatedMlp } from "../../nn/gated-mlp.js";
import { gradientCheckpoint } from "../../nn/gradient-checkpoint.js";
import { Linear } from "../../nn/linear.js";
import type { ParameterScope } from "../../nn/parameter-scope.js";
import { RmsNorm } from "../../nn/rms-norm.js";
import { applyRotary, type RotaryTables } from "../../nn/rotary.js";
import type { TextConfig } from "./config.js";

/** What all layers of one pass share. */
export interface DecoderPass {
	batch: number;
	length: number;
	/** Of the new tokens: [N, 1, D]. */
	rotary: RotaryTables;
	/** Added to the scores: broadcastable to [B, H, T, S]; absent where every token may see every other. */
	mask?: Tensor;
	/**
	 * Given a layer's new keys and values [B, K, T, D], returns those to attend to, [B, K, S, D]: a cache, to generate. Absent: the new ones.
	 */
	cached?: (layer: number, k: Tensor4D, v: Tensor4D) => readonly [Tensor4D, Tensor4D];
	/** Takes each layer's new keys and values [B, K, T, D] over, to fill a cache. */
	collect?: (layer: number, k: Tensor4D, v: Tensor4D) => void;
	/** Compute layers again in the backward pass instead of keeping their intermediates. */
	gradientCheckpointing?: boolean;
	/** [1] int32 of adapters' dropout; absent: nothing is dropped. */
	dropoutSeed?: Tensor1D;
	/** Sees the hidden states [N, C] after each layer (for tests and probes). */
	onLayer?: (layer: number, x: Tensor2D) => void;
}

class SelfAttention {
	private readonly q_proj: Linear;
	private readonly k_proj: Linear;
	private readonly v_proj: Linear;
	private readonly o_proj: Linear;

	constructor(
		p: ParameterScope,
		private readonly config: TextConfig,
	) {
		this.q_proj = new Linear(p.scope("q_proj"), { bias: true });
		this.k_proj = new Linear(p.scope("k_proj"), { bias: true });
		this.v_proj = new Linear(p.scope("v_proj"), { bias: true });
		this.o_proj = new Linear(p.scope("o_proj"), { bias: false });
	}

	/**
	 * @param x [N, C]
	 * @returns [N, C], and the new keys and values [B, K, T, D]
	 */
	forward(x: Tensor2D, pass: DecoderPass, layer: number): { out: Tensor2D; k: Tensor4D; v: Tensor4D } {
		const { batch, length, rotary, dropoutSeed } = pass;
		const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = this.config;
		const byHead = (projected: Tensor2D, n: number): Tensor3D => reshape(projected, [batch * length, n, headDim]);
		const heads4d = (rows: Tensor3D, n: number): Tensor4D => {
			if (length === 1) return reshape(rows, [batch, n, 1, headDim]); // the same layout: nothing to transpose
			return transpose(reshape(rows, [batch, length, n, headDim]), [0, 2, 1, 3]);
		};
		const q = heads4d(applyRotary(byHead(this.q_proj.forward(x, dropoutSeed), heads), rotary), heads); // [B, H, T, D]
		const k = heads4d(applyRotary(byHead(this.k_proj.forward(x, dropoutSeed), kvHeads), rotary), kvHeads); // [B, K, T, D]
		const v = heads4d(byHead(this.v_proj.forward(x, dropoutSeed), kvHeads), kvHeads);
		const [allK, allV] = pass.cached?.(layer, k, v) ?? [k, v];
		const attended = attention(q, allK, allV, pass.mask); // [B, H, T, D]
		const rows = length === 1 ? attended : transpose(attended, [0, 2, 1, 3]);
		return { out: this.o_proj.forward(reshape(rows, [batch * length, heads * headDim]), dropoutSeed), k, v };
	}
}

class DecoderLayer {
	readonly parameters: readonly Variable[];
	private readonly input_layernorm: RmsNorm;
	private readonly post_attention_layernorm: RmsNorm;
	private readonly self_attn: SelfAttention;
	private readonly mlp: GatedMlp;

	constructor(p: ParameterScope, config: TextConfig) {
		this.parameters = p.all();
		this.input_layernorm = new RmsNorm(p.scope("input_layernorm"), config.rmsNormEps);
		this.post_attention_layernorm = new RmsNorm(p.scope("post_attention_layernorm"), config.rmsNormEps);
		this.self_attn = new SelfAttention(p.scope("self_attn"), config);
		this.mlp = new GatedMlp(p.scope("mlp"), { bias: false });
	}

	forward(x: Tensor2D, pass: DecoderPass, layer: number): Tensor2D {
		// Each half frees its own intermediates: what the backward pass needs, the gradient tape has kept.
		const [attended, k, v] = tidy((): [Tensor2D, Tensor4D?, Tensor4D?] => {
			const { out, k, v } = this.self_attn.forward(this.input_layernorm.forProducts(x), pass, layer);
			return pass.collect ? [add(x, out), k, v] : [add(x, out)];
		});
		if (k && v) pass.collect?.(layer, k, v);
		return tidy(() => add(attended, this.mlp.forward(this.post_attention_layernorm.forProducts(attended), pass.dropoutSeed)));
	}
}

function checkpointed(layer: DecoderLayer, x: Tensor2D, pass: DecoderPass, i: number): Tensor2D {
	const { cos, signedSin } = pass.rotary;
	const run = (x: Tensor2D, [cos, signedSin, mask]: Tensor[]) =>
		layer.forward(x, { ...pass, rotary: { cos, signedSin } as RotaryTables, mask }, i);
	return gradientCheckpoint(run, x, pass.mask ? [cos, signedSin, pass.mask] : [cos, signedSin], layer.parameters);
}

export class LanguageModel {
	private readonly embed_tokens: Embedding;
	private readonly layers: DecoderLayer[];
	private readonly norm: RmsNorm;

	/** @param p the scope that holds `embed_tokens`, `layers` and `norm` */
	constructor(p: ParameterScope, config: TextConfig) {
		this.embed_tokens = new Embedding(p.scope("embed_tokens"));
		this.layers = Array.from({ length: config.numHiddenLayers }, (_, i) => new DecoderLayer(p.scope(`layers.${i}`), config));
		this.norm = new RmsNorm(p.scope("norm"), config.rmsNormEps);
	}

	/** @param ids [N] int32 → [N, C] */
	embed(ids: Tensor1D): Tensor2D {
		return this.embed_tokens.forward(ids);
	}

	/**
	 * @param embeddings [N, C]
	 * @returns [N, C] before the final norm: a caller that needs few rows norms those only
	 */
	forward(embeddings: Tensor2D, pass: DecoderPass): Tensor2D {
		let x = embeddings;
		this.layers.forEach((layer, i) => {
			x = pass.gradientCheckpointing ? checkpointed(layer, x, pass, i) : layer.forward(x, pass, i);
			pass.onLayer?.(i, x);
		});
		return x;
	}

	finalNorm(x: Tensor2D): Tensor2D {
		return this.norm.forward(x);
	}
}
