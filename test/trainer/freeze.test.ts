import { expect, it } from "vitest";
import { FREEZE_PRESETS, frozenBy, trainableParameters } from "../../src/trainer/freeze.js";

const NAMES = [
	"visual.patch_embed.proj.weight",
	"visual.blocks.0.attn.qkv.weight",
	"visual.merger.mlp.0.weight",
	"model.embed_tokens.weight",
	"model.layers.0.mlp.up_proj.weight",
	"model.layers.11.mlp.up_proj.weight",
	"lm_head.weight",
];
const parameters = new Map(NAMES.map((name, i) => [name, i]));
const left = (...patterns: string[]) => [...trainableParameters(parameters, patterns).values()];

it.each([
	[["visual.*"], [3, 4, 5, 6]],
	[["vision_tower"], [2, 3, 4, 5, 6]],
	[["merger"], [0, 1, 3, 4, 5, 6]],
	[
		["vision_tower", "merger", "embeddings"],
		[4, 5, 6],
	],
	[["model\\.layers\\.[0-9]\\..*"], [0, 1, 2, 3, 5, 6]],
	[["layers.*"], undefined],
	[[], [0, 1, 2, 3, 4, 5, 6]],
])("%j leaves %j", (patterns, expected) => {
	if (expected) expect(left(...patterns)).toEqual(expected);
	else expect(() => left(...patterns)).toThrow(/fits none of 7 parameters/);
});

it("matches whole names", () => {
	expect(frozenBy(["lm_head"])("lm_head.weight")).toBe(false);
	expect(frozenBy(Object.keys(FREEZE_PRESETS))("visual.merger.ln_q.weight")).toBe(true);
});

it("refuses what fits nothing, is no expression, or leaves nothing", () => {
	expect(() => left("visaul.*")).toThrow(
		/freeze: "visaul\.\*" fits none of 7 parameters, such as visual.*or vision_tower, merger, embeddings/,
	);
	expect(() => left("*.bias")).toThrow(/"\*\.bias" is no regular expression/);
	expect(() => left(".*")).toThrow(/\.\* freeze all 7 parameters/);
});
