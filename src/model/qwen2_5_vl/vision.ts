/**
 * The vision tower: patches in, one feature vector per merged 2 × 2 unit out.
 *
 * What a port gets wrong: patches (and their rotary angles) are put into window order before the first block and come back to
 * raster order after the merger; full-attention blocks attend per frame, still in window order; the norms'
 * epsilon is 1e-6 whatever the text config says; the MLP has biases; the merger's GELU is the exact one.
 * Source: transformers models/qwen2_5_vl/modeling_qwen2_5_vl.py, Qwen2_5_VisionTransformerPretrainedModel.
 *
 * Legend: P patches, C hidden, H heads, D head dim, M merged units (P / 4), O text hidden size.
 */
import {
	add,
	reshape,
	slice,
	type Tensor,
	type Tensor1D,
	type Tensor2D,
	type Tensor3D,
	tensor2d,
	tidy,
	type Variable,
} from "../../backend/tf.js";
import { gelu } from "../../nn/activations.js";
import { GatedMlp } from "../../nn/gated-mlp.js";
import { gradientCheckpoint } from "../../nn/gradient-checkpoint.js";
import { Linear } from "../../nn/linear.js";
import type { ParameterScope } from "../../nn/parameter-scope.js";
import { RmsNorm } from "../../nn/rms-norm.js";
import { applyRotary, inverseFrequencies, type RotaryTables, rotaryTables } from "../../nn/rotary.js";
import { type Segments, segmentAttention, segmentsFrom } from "../../nn/segment-attention.js";
import { invertIndex, type RowSelection, rowSelection, selectRows } from "../../nn/select-rows.js";
import type { ForwardOptions, Matrix } from "../generative-model.js";
import type { VisionConfig } from "./config.js";
import { frameSeqlens, patchPositions, reorderUnits, windowIndex } from "./window-index.js";

const NORM_EPS = 1e-6; // fixed in the reference's code, not read from config.json
const ROPE_THETA = 10000; // likewise

class VisionAttention {
	private readonly qkv: Linear;
	private readonly proj: Linear;

	constructor(
		p: ParameterScope,
		private readonly numHeads: number,
	) {
		this.qkv = new Linear(p.scope("qkv"), { bias: true });
		this.proj = new Linear(p.scope("proj"), { bias: true });
	}

	/** @param x [P, C] */
	forward(x: Tensor2D, rotary: RotaryTables, segments: Segments, dropoutSeed?: Tensor1D): Tensor2D {
		const [patches, hidden] = x.shape;
		const qkv = this.qkv.forward(x, dropoutSeed); // [P, 3·C]
		const part = (i: number): Tensor3D =>
			reshape(slice(qkv, [0, i * hidden], [patches, hidden]), [patches, this.numHeads, hidden / this.numHeads]);
		const attended = segmentAttention(applyRotary(part(0), rotary), applyRotary(part(1), rotary), part(2), segments);
		return this.proj.forward(attended, dropoutSeed);
	}
}

class VisionBlock {
	readonly parameters: readonly Variable[];
	private readonly norm1: RmsNorm;
	private readonly norm2: RmsNorm;
	private readonly attn: VisionAttention;
	private readonly mlp: GatedMlp;

	constructor(p: ParameterScope, config: VisionConfig) {
		this.parameters = p.all();
		this.norm1 = new RmsNorm(p.scope("norm1"), NORM_EPS);
		this.norm2 = new RmsNorm(p.scope("norm2"), NORM_EPS);
		this.attn = new VisionAttention(p.scope("attn"), config.numHeads);
		this.mlp = new GatedMlp(p.scope("mlp"), { bias: true });
	}

	forward(x: Tensor2D, rotary: RotaryTables, segments: Segments, dropoutSeed?: Tensor1D): Tensor2D {
		// Each half frees its own intermediates: what the backward pass needs, the gradient tape has kept.
		const attended: Tensor2D = tidy(() => add(x, this.attn.forward(this.norm1.forProducts(x), rotary, segments, dropoutSeed)));
		return tidy(() => add(attended, this.mlp.forward(this.norm2.forProducts(attended), dropoutSeed)));
	}
}

/** Four adjacent patches to one feature vector of the text model's width. */
class PatchMerger {
	private readonly ln_q: RmsNorm;
	private readonly mlp0: Linear;
	private readonly mlp2: Linear;

	constructor(p: ParameterScope) {
		this.ln_q = new RmsNorm(p.scope("ln_q"), NORM_EPS);
		this.mlp0 = new Linear(p.scope("mlp.0"), { bias: true });
		this.mlp2 = new Linear(p.scope("mlp.2"), { bias: true });
	}

	/** @param x [P, C] → [M, O] */
	forward(x: Tensor2D, unit: number, dropoutSeed?: Tensor1D): Tensor2D {
		const [patches, hidden] = x.shape;
		const merged: Tensor2D = reshape(this.ln_q.forward(x), [patches / unit, unit * hidden]);
		return this.mlp2.forward(gelu(this.mlp0.forward(merged, dropoutSeed)), dropoutSeed);
	}
}

/** Images on the device as the tower reads them, in window order; the tensors are the caller's to dispose. */
export type VisionInputs = {
	/** [P, C·t·p·p] */
	patches: Tensor2D;
	/** [P, 1, D] */
	rotary: RotaryTables;
	windows: Segments;
	frames: Segments;
	/** Merged units back to raster order. */
	restore: RowSelection;
};

/** What a pass takes beside. */
export interface VisionPass extends ForwardOptions {
	/** [1] int32 of adapters' dropout; absent: nothing is dropped. */
	dropoutSeed?: Tensor1D;
	/** Sees the hidden states [P, C] after each block, in window order (for tests and probes). */
	onBlock?: (block: number, x: Tensor2D) => void;
}

export class VisionTower {
	private readonly patchEmbed: Linear;
	private readonly blocks: VisionBlock[];
	private readonly merger: PatchMerger;

	constructor(
		p: ParameterScope,
		private readonly config: VisionConfig,
	) {
		this.patchEmbed = new Linear(p.scope("patch_embed.proj"), { bias: false });
		this.blocks = Array.from({ length: config.depth }, (_, i) => new VisionBlock(p.scope(`blocks.${i}`), config));
		this.merger = new PatchMerger(p.scope("merger"));
	}

	/**
	 * Puts images on the device. They are reordered here, on the host: the tower runs in window order from its first op to the merger.
	 * @param pixelValues [P, C·t·p·p], images one after another
	 * @param grids [t, h, w] of each image, in patches
	 * @throws where the grids and the patches differ in number
	 */
	prepare(pixelValues: Matrix<Float32Array>, grids: readonly (readonly number[])[]): VisionInputs {
		const { spatialMergeSize } = this.config;
		const unit = spatialMergeSize ** 2;
		const [patches, width] = pixelValues.shape;
		const expected = grids.reduce((n, [t, h, w]) => n + t * h * w, 0);
		if (patches !== expected) throw new Error(`pixelValues has ${patches} rows, but imageGridThw describes ${expected} patches`);
		const order = windowIndex(grids, this.config);
		return {
			patches: tensor2d(reorderUnits(pixelValues.data, order.windowIndex, unit * width), [patches, width]),
			rotary: this.rotary(reorderUnits(patchPositions(grids, spatialMergeSize), order.windowIndex, unit * 2)),
			windows: segmentsFrom(order.cuWindowSeqlens),
			frames: segmentsFrom(frameSeqlens(grids)),
			restore: rowSelection(invertIndex(order.windowIndex, patches / unit), patches / unit),
		};
	}

	/** @returns [M, O] merged features in raster order, images one after another */
	forward(inputs: VisionInputs, { gradientCheckpointing, dropoutSeed, onBlock }: VisionPass = {}): Tensor2D {
		const { fullattBlockIndexes, spatialMergeSize } = this.config;
		let x = this.patchEmbed.forward(inputs.patches); // [P, C]
		const { cos, signedSin } = inputs.rotary;
		this.blocks.forEach((block, i) => {
			const segments = fullattBlockIndexes.includes(i) ? inputs.frames : inputs.windows;
			const run = (x: Tensor2D, [cos, signedSin]: Tensor[]) => block.forward(x, { cos, signedSin } as RotaryTables, segments, dropoutSeed);
			x = gradientCheckpointing ? gradientCheckpoint(run, x, [cos, signedSin], block.parameters) : run(x, [cos, signedSin]);
			onBlock?.(i, x);
		});
		return selectRows(this.merger.forward(x, spatialMergeSize ** 2, dropoutSeed), inputs.restore);
	}

	/** Half of the frequencies turn by the row, half by the column. @param positions [P, 2] */
	private rotary(positions: Int32Array): RotaryTables {
		const headDim = this.config.hiddenSize / this.config.numHeads;
		const frequencies = inverseFrequencies(headDim / 2, ROPE_THETA); // [D/4]
		const quarter = frequencies.length;
		const angles = new Float32Array((positions.length / 2) * 2 * quarter);
		for (let i = 0; i < positions.length; i++) {
			for (let j = 0; j < quarter; j++) angles[i * quarter + j] = positions[i] * frequencies[j];
		}
		return rotaryTables(angles, headDim / 2);
	}
}
