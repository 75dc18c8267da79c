import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { argmax, drawToken, processLogits, rowRandom, type SamplingOptions } from "../../src/model/logits-processors.js";
import { golden } from "../fixtures/read-golden.js";

const chains: Record<string, SamplingOptions> = {
	"temperature_0.7": { temperature: 0.7 },
	top_k_1: { topK: 1 },
	top_k_5: { topK: 5 },
	top_k_50: { topK: 50 },
	"top_p_0.001": { topP: 0.001 },
	"top_p_0.5": { topP: 0.5 },
	"top_p_0.9": { topP: 0.9 },
	"top_p_0.95": { topP: 0.95 },
	"min_p_0.05": { minP: 0.05 },
	"repetition_1.05": { repetitionPenalty: 1.05 },
	"repetition_1.5": { repetitionPenalty: 1.5 },
	"rep1.05_t0.7_k20_p0.8": { repetitionPenalty: 1.05, temperature: 0.7, topK: 20, topP: 0.8 },
	"rep1.05_t0.1_k1_p0.001": { repetitionPenalty: 1.05, temperature: 0.1, topK: 1, topP: 0.001 },
};

describe("processLogits", () => {
	it.each(Object.keys(chains))("equals transformers' processors: %s", async (name) => {
		const reference = await golden("warpers");
		const { data: logits, shape } = reference.float("logits");
		const ids = reference.int("input_ids");
		const expected = reference.float(name).data;
		const [rows, vocab] = shape;
		for (let r = 0; r < rows; r++) {
			const own = logits.slice(r * vocab, (r + 1) * vocab);
			processLogits(own, ids.data.subarray((r * ids.data.length) / rows, ((r + 1) * ids.data.length) / rows), chains[name]);
			// Row 1 has eleven equal logits at its top; which of them top-p drops is the order of an unstable sort, so values are compared.
			const order = (values: Float32Array) => (r === 1 ? values.slice().sort() : values);
			const [got, want] = [order(own), order(expected.slice(r * vocab, (r + 1) * vocab))];
			for (let i = 0; i < vocab; i++) {
				if (want[i] === Number.NEGATIVE_INFINITY) expect(got[i], `row ${r}, token ${i}`).toBe(want[i]);
				else expect(Math.abs(got[i] - want[i]), `row ${r}, token ${i}`).toBeLessThanOrEqual(1e-6 * Math.abs(want[i]));
			}
		}
	});
});

interface Chains {
	logits: number[][];
	input_ids: number[][];
	chains: Record<string, { options: SamplingOptions; logits: (number | null)[][] }>;
}

describe("min-p and the repetition penalty", () => {
	const reference = JSON.parse(readFileSync("test/fixtures/logits-processors.json", "utf8")) as Chains;

	it.each(Object.keys(reference.chains))("equal transformers' processors, alone and together: %s", (name) => {
		const { options, logits: expected } = reference.chains[name];
		for (const [r, row] of reference.logits.entries()) {
			const own = Float32Array.from(row);
			processLogits(own, reference.input_ids[r], options);
			for (const [i, want] of expected[r].entries()) {
				if (want === null) expect(own[i], `row ${r}, token ${i}`).toBe(Number.NEGATIVE_INFINITY);
				else expect(Math.abs(own[i] - want), `row ${r}, token ${i}`).toBeLessThanOrEqual(1e-6 * Math.abs(want));
			}
			const asSet = Float32Array.from(row);
			processLogits(asSet, new Set(reference.input_ids[r]), options);
			expect(asSet).toEqual(own);
		}
	});
});

describe("drawToken", () => {
	const logits = Float32Array.from([0, Math.log(2), Number.NEGATIVE_INFINITY, Math.log(5)]);

	it("draws with the softmax's frequencies and never a ruled-out token", () => {
		const random = rowRandom(7);
		const counts = [0, 0, 0, 0];
		for (let i = 0; i < 8000; i++) counts[drawToken(logits, random)]++;
		expect(counts[2]).toBe(0);
		// probabilities 1/8, 2/8, 0, 5/8; four standard deviations of 8000 draws are at most 0.022
		for (const [i, p] of [1 / 8, 2 / 8, 0, 5 / 8].entries()) expect(Math.abs(counts[i] / 8000 - p)).toBeLessThan(0.022);
	});

	it("depends on the seed alone", () => {
		const draw = (seed: number) => {
			const random = rowRandom(seed);
			return Array.from({ length: 20 }, () => drawToken(logits, random));
		};
		expect(draw(3)).toEqual(draw(3));
		expect(draw(3)).not.toEqual(draw(4));
	});

	it("with one token left gives the arg-max", () => {
		const row = Float32Array.from([1, 5, 3]);
		const best = argmax(row);
		processLogits(row, [], { topK: 1 });
		expect(drawToken(row, rowRandom(1))).toBe(best);
	});
});
