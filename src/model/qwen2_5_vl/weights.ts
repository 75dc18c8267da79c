/**
 * The table of Qwen2.5-VL's tensors: every checkpoint key with its shape, in the hub's spelling, from the configuration alone.
 * transformers' module names (`model.language_model.…`, `model.visual.…`) are the other layout that is read; the hub's
 * is written. With tied embeddings there is no `lm_head.weight`.
 */
import type { Qwen2_5VLConfig } from "./config.js";

export type WeightTable = Map<string, number[]>;

/** Every tensor of the model: hub key → shape. */
export function weightTable(config: Qwen2_5VLConfig): WeightTable {
	const table: WeightTable = new Map();
	visionWeights(config, table);
	textWeights(config, table);
	if (!config.tieWordEmbeddings) table.set("lm_head.weight", [config.text.vocabSize, config.text.hiddenSize]);
	return table;
}

function visionWeights({ vision: v }: Qwen2_5VLConfig, table: WeightTable): void {
	const linear = (key: string, out: number, inner: number) => {
		table.set(`${key}.weight`, [out, inner]);
		table.set(`${key}.bias`, [out]);
	};
	const merged = v.hiddenSize * v.spatialMergeSize ** 2;
	table.set("visual.patch_embed.proj.weight", [v.hiddenSize, v.inChannels, v.temporalPatchSize, v.patchSize, v.patchSize]);
	for (let i = 0; i < v.depth; i++) {
		const block = `visual.blocks.${i}`;
		table.set(`${block}.norm1.weight`, [v.hiddenSize]);
		table.set(`${block}.norm2.weight`, [v.hiddenSize]);
		linear(`${block}.attn.qkv`, 3 * v.hiddenSize, v.hiddenSize);
		linear(`${block}.attn.proj`, v.hiddenSize, v.hiddenSize);
		linear(`${block}.mlp.gate_proj`, v.intermediateSize, v.hiddenSize);
		linear(`${block}.mlp.up_proj`, v.intermediateSize, v.hiddenSize);
		linear(`${block}.mlp.down_proj`, v.hiddenSize, v.intermediateSize);
	}
	table.set("visual.merger.ln_q.weight", [v.hiddenSize]);
	linear("visual.merger.mlp.0", merged, merged);
	linear("visual.merger.mlp.2", v.outHiddenSize, merged);
}

function textWeights({ text: t }: Qwen2_5VLConfig, table: WeightTable): void {
	const kvSize = t.numKeyValueHeads * t.headDim;
	table.set("model.embed_tokens.weight", [t.vocabSize, t.hiddenSize]);
	for (let i = 0; i < t.numHiddenLayers; i++) {
		const layer = `model.layers.${i}`;
		for (const [name, out] of [
			["q_proj", t.hiddenSize],
			["k_proj", kvSize],
			["v_proj", kvSize],
		] as const) {
			table.set(`${layer}.self_attn.${name}.weight`, [out, t.hiddenSize]);
			table.set(`${layer}.self_attn.${name}.bias`, [out]);
		}
		table.set(`${layer}.self_attn.o_proj.weight`, [t.hiddenSize, t.hiddenSize]);
		table.set(`${layer}.mlp.gate_proj.weight`, [t.intermediateSize, t.hiddenSize]);
		table.set(`${layer}.mlp.up_proj.weight`, [t.intermediateSize, t.hiddenSize]);
		table.set(`${layer}.mlp.down_proj.weight`, [t.hiddenSize, t.intermediateSize]);
		table.set(`${layer}.input_layernorm.weight`, [t.hiddenSize]);
		table.set(`${layer}.post_attention_layernorm.weight`, [t.hiddenSize]);
	}
	table.set("model.norm.weight", [t.hiddenSize]);
}

/** The hub's spelling of a key or module → that of transformers' modules, which adapters have. */
export function transformersKey(key: string): string {
	if (key.startsWith("visual.")) return `model.${key}`;
	return key.replace(/^model\./, "model.language_model.");
}

/** A checkpoint's own spelling of a key → the hub's. */
export function hubKey(key: string): string {
	if (key.startsWith("model.visual.")) return key.slice("model.".length);
	return key.replace(/^model\.language_model\./, "model.");
}

/**
 * Pairs the table with a checkpoint's keys.
 * @returns hub key → the key as the checkpoint spells it
 * @throws listing every missing and unexpected key and every shape that differs
 */
export function matchKeys(
	table: WeightTable,
	entries: Iterable<{ name: string; shape: readonly number[] }>,
	tied: boolean,
	where: string,
): Map<string, string> {
	const found = new Map<string, string>();
	const unexpected: string[] = [];
	const wrongShape: string[] = [];
	for (const { name, shape } of entries) {
		const key = hubKey(name);
		if (tied && key === "lm_head.weight") continue; // some writers store the tied matrix twice
		const expected = table.get(key);
		if (!expected || found.has(key)) unexpected.push(name);
		else if (expected.join() !== shape.join()) wrongShape.push(`${name}: config.json asks for [${expected}], the file has [${shape}]`);
		found.set(key, name);
	}
	const missing = [...table.keys()].filter((key) => !found.has(key));
	const report = [
		...missing.map((k) => `missing: ${k}`),
		...unexpected.map((k) => `unexpected: ${k}`),
		...wrongShape.map((line) => `shape: ${line}`),
	];
	if (report.length) throw new Error(`${where} does not fit its config.json:\n  ${report.join("\n  ")}`);
	return found;
}
