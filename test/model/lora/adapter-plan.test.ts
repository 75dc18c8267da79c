/** Which modules an adapter's settings mean, against peft (test/reference/make_lora_targets.py), and settings that are refused. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { z } from "zod";
import { checkAdapterConfig } from "../../../src/model/lora/adapter-config.js";
import { planAdapter } from "../../../src/model/lora/adapter-plan.js";
import { newAdapterConfig } from "../../../src/model/lora/lora-options.js";
import { parseConfig } from "../../../src/model/qwen2_5_vl/config.js";
import { hubKey, transformersKey, weightTable } from "../../../src/model/qwen2_5_vl/weights.js";
import { goldenPath } from "../../fixtures/read-golden.js";

const cases = z
	.array(
		z.object({
			config: z.record(z.string(), z.unknown()),
			lora: z.record(z.string(), z.tuple([z.number(), z.number()])),
			saved: z.array(z.string()),
		}),
	)
	.parse(JSON.parse(readFileSync(new URL("../../fixtures/lora-targets.json", import.meta.url), "utf8")));
const file = goldenPath("tiny-qwen2_5_vl", "config.json");
const table = weightTable(parseConfig(JSON.parse(readFileSync(file, "utf8")), file));
const PEFT = { peft_type: "LORA", r: 8, lora_alpha: 8 };
const names = { namesOf: (module: string) => [transformersKey(module)], tied: false };
const plan = (json: Record<string, unknown>, tied = false) =>
	planAdapter(checkAdapterConfig({ ...PEFT, ...json }, "test"), table, { ...names, tied });

it.each(cases.map((one) => [JSON.stringify(one.config), one] as const))(
	"means peft's modules, ranks and scales: %s",
	(_, { config, lora, saved }) => {
		const { matrices, saved: whole } = plan(config);
		const got = [...matrices].map(([key, { rank, scaling }]) => [transformersKey(key).replace(/\.weight$/, ""), [rank, scaling]] as const);
		expect(Object.fromEntries(got)).toEqual(lora);
		expect([...whole].map(transformersKey).sort()).toEqual(saved);
	},
);

it("turns the names of keys both ways", () => {
	for (const key of table.keys()) expect(hubKey(transformersKey(key))).toBe(key);
});

it("reads the hub's spelling of names, too, in an adapter that was made with it", () => {
	const config = checkAdapterConfig({ ...PEFT, target_modules: "model\\.layers\\.1\\..*q_proj" }, "test");
	const namesOf = (module: string) => [transformersKey(module), module];
	expect([...planAdapter(config, table, { namesOf, tied: false }).matrices.keys()]).toEqual(["model.layers.1.self_attn.q_proj.weight"]);
	expect(() => planAdapter(config, table, names)).toThrow(
		/target_modules "model.*" fits no module; expected ends of names such as model\.language_model\.layers\.0\.self_attn\.q_proj/,
	);
});

it("takes LightRFT's defaults", () => {
	const config = newAdapterConfig({}, "base");
	expect(config).toMatchObject({ r: 8, lora_alpha: 16, lora_dropout: 0, target_modules: "all-linear", use_rslora: false });
});

it.each([
	[{ target_modules: ["proj"] }, /name visual\.patch_embed\.proj, which is a convolution/],
	[{ target_modules: ["q_proj", "embed_tokens"] }, /name model\.embed_tokens, which is an embedding/],
	[{ target_modules: ["qproj"] }, /target_modules \["qproj"\] fits no module/],
	[{ target_modules: ["q_proj"], modules_to_save: ["lm_haed"] }, /modules_to_save "lm_haed" fits no module/],
	[{ target_modules: "(?P<x>q_proj)" }, /is no regular expression here/],
	[{ target_modules: ["q_proj"], r: 0 }, /at r/],
	[{ target_modules: ["q_proj"], lora_dropout: 1 }, /at lora_dropout/],
	[{ target_modules: ["q_proj"], use_dora: true }, /expected it off[\s\S]*at use_dora/],
	[{ target_modules: ["q_proj"], bias: "all" }, /at bias/],
	[{ target_modules: ["q_proj"], init_lora_weights: "pissa" }, /at init_lora_weights/],
	[{ target_modules: ["q_proj"], trainable_token_indices: [1] }, /at trainable_token_indices/],
	[{ target_modules: "q_proj", layers_to_transform: [1] }, /at layers_to_transform/],
	[{ target_modules: ["q_proj"], peft_type: "IA3" }, /at peft_type/],
])("refuses %j", (json, message) => {
	expect(() => plan(json)).toThrow(message);
});

it("refuses the embeddings of a model that has them as its head", () => {
	expect(() => plan({ target_modules: ["q_proj"], modules_to_save: ["embed_tokens"] }, true)).toThrow(/this model's head, too/);
});
