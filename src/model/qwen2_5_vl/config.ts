/**
 * config.json of Qwen2.5-VL, parsed once into a readonly record. Two layouts exist: flat text fields (the hub's files) and
 * nested `text_config` (what transformers ≥ 4.52 writes); rope settings moved with them (`rope_scaling` → `rope_parameters`).
 * Source: transformers models/qwen2_5_vl/configuration_qwen2_5_vl.py.
 */
import { z } from "zod";

const rope = z.looseObject({ mrope_section: z.array(z.int().positive()).length(3), rope_theta: z.number().positive().optional() });

const textSchema = z.looseObject({
	vocab_size: z.int().positive(),
	hidden_size: z.int().positive(),
	intermediate_size: z.int().positive(),
	num_hidden_layers: z.int().positive(),
	num_attention_heads: z.int().positive(),
	num_key_value_heads: z.int().positive(),
	rms_norm_eps: z.number().positive().default(1e-5),
	rope_theta: z.number().positive().optional(),
	rope_scaling: rope.nullish(),
	rope_parameters: rope.nullish(),
	tie_word_embeddings: z.boolean().optional(),
	use_sliding_window: z.boolean().default(false),
	hidden_act: z.literal("silu").default("silu"),
	initializer_range: z.number().positive().default(0.02),
});

const visionSchema = z.looseObject({
	depth: z.int().positive(),
	hidden_size: z.int().positive(),
	intermediate_size: z.int().positive(),
	num_heads: z.int().positive(),
	out_hidden_size: z.int().positive(),
	patch_size: z.int().positive().default(14),
	temporal_patch_size: z.int().positive().default(2),
	spatial_merge_size: z.int().positive().default(2),
	window_size: z.int().positive().default(112),
	fullatt_block_indexes: z.array(z.int().nonnegative()).default([7, 15, 23, 31]),
	in_channels: z.int().positive().optional(),
	in_chans: z.int().positive().optional(),
	tokens_per_second: z.number().positive().default(4),
	hidden_act: z.literal("silu").default("silu"),
});

const schema = z.looseObject({
	model_type: z.literal("qwen2_5_vl"),
	image_token_id: z.int().nonnegative(),
	video_token_id: z.int().nonnegative().optional(),
	tie_word_embeddings: z.boolean().optional(),
	text_config: z.looseObject({}).optional(),
	vision_config: visionSchema,
});

export interface TextConfig {
	readonly vocabSize: number;
	readonly hiddenSize: number;
	readonly intermediateSize: number;
	readonly numHiddenLayers: number;
	readonly numAttentionHeads: number;
	readonly numKeyValueHeads: number;
	readonly headDim: number;
	readonly rmsNormEps: number;
	readonly ropeTheta: number;
	/** How many of the headDim / 2 frequencies turn by the temporal, height and width position. */
	readonly mropeSection: readonly [number, number, number];
	readonly initializerRange: number;
}

export interface VisionConfig {
	readonly depth: number;
	readonly hiddenSize: number;
	readonly intermediateSize: number;
	readonly numHeads: number;
	readonly outHiddenSize: number;
	readonly patchSize: number;
	readonly temporalPatchSize: number;
	readonly spatialMergeSize: number;
	readonly windowSize: number;
	readonly fullattBlockIndexes: readonly number[];
	readonly inChannels: number;
	readonly tokensPerSecond: number;
}

export interface Qwen2_5VLConfig {
	readonly text: TextConfig;
	readonly vision: VisionConfig;
	readonly tieWordEmbeddings: boolean;
	readonly imageTokenId: number;
	readonly videoTokenId?: number;
	/** The JSON as it was read, for saving it again. */
	readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * @param json parsed config.json
 * @param where named in errors, e.g. the file's path
 * @throws if a field is missing, of another type, or contradicts another
 */
export function parseConfig(json: unknown, where = "config.json"): Qwen2_5VLConfig {
	const top = check(schema, json, where);
	const t = check(textSchema, top.text_config ?? top, top.text_config ? `${where}: text_config` : where);
	const ropeConfig = t.rope_parameters ?? t.rope_scaling;
	if (!ropeConfig) throw new Error(`${where}: neither rope_parameters nor rope_scaling has an mrope_section; a Qwen2.5-VL config has one`);
	const ropeTheta = ropeConfig.rope_theta ?? t.rope_theta;
	if (ropeTheta === undefined) throw new Error(`${where}: rope_theta is missing`);
	if (t.use_sliding_window) throw new Error(`${where}: use_sliding_window is true; only full attention is implemented (set it to false)`);
	const text: TextConfig = {
		vocabSize: t.vocab_size,
		hiddenSize: t.hidden_size,
		intermediateSize: t.intermediate_size,
		numHiddenLayers: t.num_hidden_layers,
		numAttentionHeads: t.num_attention_heads,
		numKeyValueHeads: t.num_key_value_heads,
		headDim: t.hidden_size / t.num_attention_heads,
		rmsNormEps: t.rms_norm_eps,
		ropeTheta,
		mropeSection: ropeConfig.mrope_section as [number, number, number],
		initializerRange: t.initializer_range,
	};
	const v = top.vision_config;
	const vision: VisionConfig = {
		depth: v.depth,
		hiddenSize: v.hidden_size,
		intermediateSize: v.intermediate_size,
		numHeads: v.num_heads,
		outHiddenSize: v.out_hidden_size,
		patchSize: v.patch_size,
		temporalPatchSize: v.temporal_patch_size,
		spatialMergeSize: v.spatial_merge_size,
		windowSize: v.window_size,
		fullattBlockIndexes: v.fullatt_block_indexes,
		inChannels: v.in_channels ?? v.in_chans ?? 3,
		tokensPerSecond: v.tokens_per_second,
	};
	checkTogether(text, vision, where);
	return {
		text,
		vision,
		tieWordEmbeddings: top.tie_word_embeddings ?? t.tie_word_embeddings ?? false,
		imageTokenId: top.image_token_id,
		videoTokenId: top.video_token_id,
		raw: json as Record<string, unknown>,
	};
}

function check<T>(schema: z.ZodType<T>, json: unknown, where: string): T {
	const parsed = schema.safeParse(json);
	if (parsed.success) return parsed.data;
	const lines = parsed.error.issues.map((i) => `${i.path.join(".") || "(top level)"}: ${i.message}`);
	throw new Error(`${where} is not a Qwen2.5-VL configuration:\n  ${lines.join("\n  ")}`);
}

function checkTogether(text: TextConfig, vision: VisionConfig, where: string): void {
	const wrong: string[] = [];
	if (text.hiddenSize % text.numAttentionHeads) wrong.push("hidden_size is not a multiple of num_attention_heads");
	if (text.numAttentionHeads % text.numKeyValueHeads) wrong.push("num_attention_heads is not a multiple of num_key_value_heads");
	const sections = text.mropeSection.reduce((a, b) => a + b, 0);
	if (2 * sections !== text.headDim) wrong.push(`mrope_section adds up to ${sections}, half the head dimension is ${text.headDim / 2}`);
	if ((vision.hiddenSize / vision.numHeads) % 4) wrong.push("the vision head dimension is not a multiple of 4");
	if (vision.outHiddenSize !== text.hiddenSize) {
		wrong.push(`vision_config.out_hidden_size ${vision.outHiddenSize} differs from hidden_size ${text.hiddenSize}`);
	}
	if (wrong.length) throw new Error(`${where}: ${wrong.join("; ")}`);
}
