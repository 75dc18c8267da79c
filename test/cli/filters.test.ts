/** Which filters flags ask for, and in which order. */
import { describe, expect, it } from "vitest";
import { chooseFilters } from "../../src/cli/filters.js";
import { sampleOptions } from "../../src/cli/options.js";
import { parseOptions } from "../../src/cli/parse-options.js";
import type { Session } from "../../src/cli/session.js";
import { filterRollouts } from "../../src/index.js";
import { rolloutsOf } from "../reward/filters/sift.js";

const BASE = { model_path: "test/fixtures/golden/tiny-qwen2_5_vl", data_path: "hpdv3:test/fixtures/hpdv3/pairs.json", output_path: "out" };
const parse = (flags: Record<string, unknown>) => parseOptions(sampleOptions, { ...BASE, ...flags });
const session: Session = {
	signal: new AbortController().signal,
	finishing: (work) => work(new AbortController().signal),
	print: () => undefined,
	note: () => undefined,
	stage: () => ({ update: () => undefined, end: () => undefined }),
};

describe("filters of flags", () => {
	it("by default ask for the form and the right answer", async () => {
		expect((await chooseFilters(parse({}), session)).map(({ name }) => name)).toEqual(["well-formed", "correct"]);
	});

	it("all", async () => {
		const flags = {
			...{ orders: "both", both_orders_rule: true, max_per_order: "2", max_per_record: "3", scores_agree: true, min_right: "2" },
			...{ majority: true, max_pass_rate: "0.9", max_tokens: "100", max_repetition: "0.5", min_confidence: "0.8" },
			...{ dedup_images: "2", dedup_prompts: "0.8", decontaminate: "hpdv3:test/fixtures/hpdv3/pairs.json" },
		};
		expect((await chooseFilters(parse(flags), session)).map(({ name }) => name)).toEqual([
			...["label-confidence", "decontaminate", "near-duplicate-images", "near-duplicate-prompts", "difficulty"],
			...["well-formed", "correct", "length", "repetition", "scores-agree", "k-of-n", "majority", "swap-consistent"],
			...["cap per order", "cap"],
		]);
	});

	it("leave of a pair that is right in one order what --max_one_order says", async () => {
		const keptWith = async (max_one_order?: string) => {
			const filters = await chooseFilters(parse({ orders: "both", both_orders_rule: true, max_one_order }), session);
			const kept = filterRollouts(rolloutsOf(0, "rrrW"), filters);
			for await (const _ of kept);
			return kept.report.kept;
		};
		expect([await keptWith(), await keptWith("1"), await keptWith("5")]).toEqual([0, 1, 3]);
	});

	it("know an evaluation set of any form, by a mapping", async () => {
		const decontaminate = "pairs:test/fixtures/sources/pairs/pairs.jsonl";
		const images = { prompt: "text.caption", imageA: "images.0", imageB: "images.1" };
		const flags = { decontaminate, decontaminate_mapping: { ...images, preference: { always: "A" } } };
		expect((await chooseFilters(parse(flags), session)).map(({ name }) => name)).toContain("decontaminate");
		const voted = { decontaminate, decontaminate_mapping: "test/fixtures/sources/pairs/mapping.yaml" };
		// Its last row names neither image. What is not known can't be left out.
		await expect(chooseFilters(parse(voted), session)).rejects.toThrow(/record 3 of .*pairs\.jsonl: field vote/);
		await expect(chooseFilters(parse({ decontaminate, decontaminate_mapping: "no.yaml" }), session)).rejects.toThrow(
			/^--decontaminate_mapping no\.yaml: /,
		);
	});

	it("of exports are lists", () => {
		expect(parse({ export: "trl,ms-swift" })).toMatchObject({ export: ["trl", "ms-swift"], export_rows: ["sft", "grpo", "dpo"] });
		expect(() => parse({ export: "axolotl" })).toThrow("--export: expected llama-factory, ms-swift, trl or lightrft");
		expect(() => parse({ min_pass_rate: 0.5, max_pass_rate: 0.4 })).toThrow("--min_pass_rate: expected it not to be above --max_pass_rate");
		expect(() => parse({ relative_paths: true })).toThrow("--relative_paths: expected --image_root with it");
	});
});
