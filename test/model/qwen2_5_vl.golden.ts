/**
 * The model against transformers' numbers (test/reference/make_goldens.py), run on each backend by a file of its own.
 * Pixel values are the reference's, so that nothing but the model is compared.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BackendName } from "../../src/backend/select-backend.js";
import { memory, type Tensor, type Tensor2D, tidy } from "../../src/backend/tf.js";
import type { EncodedConversation, GenerationRequest, ModelInputs } from "../../src/model/generative-model.js";
import { parseConfig } from "../../src/model/qwen2_5_vl/config.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import type { Qwen2_5VLModel } from "../../src/model/qwen2_5_vl/qwen2_5_vl.js";
import { type Golden, golden, goldenPath } from "../fixtures/read-golden.js";

const CHECKPOINT = goldenPath("tiny-qwen2_5_vl");
const TIED = goldenPath("tiny-qwen2_5_vl-tied");

/** Largest |a − b| over the largest |b|. */
export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
	expect(got.length).toBe(want.length);
	let difference = 0;
	let largest = 0;
	for (let i = 0; i < want.length; i++) {
		difference = Math.max(difference, Math.abs(got[i] - want[i]));
		largest = Math.max(largest, Math.abs(want[i]));
	}
	return difference / largest;
}

export function inputsOf(g: Golden, pixels = g): ModelInputs {
	const int = (name: string, from = g) => ({ data: from.int(name).data, shape: from.int(name).shape as [number, number] });
	const { data, shape } = pixels.float("pixel_values");
	return {
		inputIds: int("input_ids"),
		attentionMask: int("attention_mask"),
		pixelValues: { data, shape: shape as [number, number] },
		imageGridThw: int("image_grid_thw", pixels),
	};
}

const gridsOf = (g: Golden, name: string) => {
	const { data } = g.int(name);
	return Array.from({ length: data.length / 3 }, (_, i) => [...data.subarray(3 * i, 3 * i + 3)]);
};

/** Rows of [B, T, V] where the mask is 1. */
export function realRows(logits: Float32Array, mask: Int32Array, vocab: number): Float32Array {
	const rows = [...mask.keys()].filter((i) => mask[i]);
	const out = new Float32Array(rows.length * vocab);
	rows.forEach((row, n) => {
		out.set(logits.subarray(row * vocab, (row + 1) * vocab), n * vocab);
	});
	return out;
}

export function goldenSuite(backend: BackendName, { eager = false } = {}): void {
	let model: Qwen2_5VLModel;
	beforeAll(async () => {
		model = await loadModel(CHECKPOINT, { backend, eager });
	});
	afterAll(async () => {
		await model?.[Symbol.asyncDispose]();
	});

	describe("vision tower", () => {
		it.each(["one", "two"])("has transformers' hidden states and merged embeddings: %s", async (tag) => {
			const g = await golden("vision");
			const { data, shape } = g.float(`${tag}.pixel_values`);
			const blocks: number[] = [];
			tidy(() => {
				const merged = model.visual.forward(
					model.visual.prepare({ data, shape: shape as [number, number] }, gridsOf(g, `${tag}.grid_thw`)),
					{
						onBlock: (block, x) => {
							const name = `${tag}.block${block}`;
							if (!g.names.includes(name)) return;
							blocks.push(block);
							expect(relativeError(x.dataSync(), g.float(name).data), name).toBeLessThan(1e-4);
						},
					},
				);
				expect(relativeError(merged.dataSync(), g.float(`${tag}.merged`).data)).toBeLessThan(1e-4);
			});
			expect(blocks).toEqual(tag === "one" ? [0, 1, 2, 3] : [0, 3]);
		});

		it("attends per frame where there is more than one", async () => {
			const g = await golden("vision");
			const { data, shape } = g.float("video.pixel_values");
			tidy(() => {
				const merged = model.visual.forward(model.visual.prepare({ data, shape: shape as [number, number] }, gridsOf(g, "video.grid_thw")));
				expect(relativeError(merged.dataSync(), g.float("video.merged").data)).toBeLessThan(1e-4);
			});
		});

		it("refuses pixel values that do not fit the grids", () => {
			expect(() => model.visual.prepare({ data: new Float32Array(1176 * 4), shape: [4, 1176] }, [[1, 4, 4]])).toThrow(
				/pixelValues has 4 rows, but imageGridThw describes 16 patches/,
			);
		});
	});

	describe("decoder", () => {
		it("has transformers' hidden states after every layer", async () => {
			const g = await golden("forward");
			const inputs = inputsOf(g);
			const [batch, length] = inputs.inputIds.shape;
			const row = g.int("hidden_row").data[0];
			const hidden = model.config.text.hiddenSize;
			const mask = inputs.attentionMask.data.subarray(row * length, (row + 1) * length);
			const rowOf = (x: Tensor) => realRows((x.dataSync() as Float32Array).subarray(row * length * hidden), mask, hidden);
			const seen: number[] = [];
			tidy(() => {
				const { positionIds } = model.positions(inputs);
				expect([...positionIds]).toEqual([...g.int("position_ids").data]);
				const prepared = model.prepare(inputs);
				const embeddings = model.embed(prepared, prepared.vision && model.visual.forward(prepared.vision));
				expect(relativeError(rowOf(embeddings), realRows(g.float("hidden.embeds").data, mask, hidden))).toBeLessThan(1e-4);
				model.hiddenStates(prepared, {
					onLayer: (layer, x: Tensor2D) => {
						seen.push(layer);
						expect(relativeError(rowOf(x), realRows(g.float(`hidden.layer${layer}`).data, mask, hidden)), `layer ${layer}`).toBeLessThan(
							1e-4,
						);
					},
				});
			});
			expect(seen).toEqual([0, 1, 2, 3]);
			expect(batch).toBe(2);
		});

		it("has transformers' logits: max |Δ| ≤ 1e-4 × max |logit|", async () => {
			const g = await golden("forward");
			const inputs = inputsOf(g);
			const logits = await model.forward(inputs);
			expect(logits.shape).toEqual([...inputs.inputIds.shape, model.config.text.vocabSize]);
			const real = realRows((await logits.data()) as Float32Array, inputs.attentionMask.data, model.config.text.vocabSize);
			logits.dispose();
			expect(relativeError(real, g.float("logits").data)).toBeLessThanOrEqual(1e-4);
		});

		it("refuses a batch with fewer image tokens than its images give", async () => {
			const g = await golden("forward");
			const inputs = inputsOf(g);
			const fewer = inputs.inputIds.data.map((id, i) => (i === inputs.inputIds.data.indexOf(model.config.imageTokenId) ? 5 : id));
			await expect(model.forward({ ...inputs, inputIds: { ...inputs.inputIds, data: fewer } })).rejects.toThrow(/image tokens/);
		});
	});

	describe("tied embeddings", () => {
		it.each(["config.json", "config.flat.json"])("has transformers' logits (%s)", async (config) => {
			const g = await golden("forward");
			const tied = await loadModel(TIED, { backend, processorDir: CHECKPOINT });
			expect(tied.config.tieWordEmbeddings).toBe(true);
			expect(tied.namedParameters().has("lm_head.weight")).toBe(false);
			const read = parseConfig(JSON.parse(readFileSync(`${TIED}/${config}`, "utf8")));
			expect({ ...read, raw: undefined }).toEqual({ ...tied.config, raw: undefined });
			const inputs = inputsOf(g);
			const logits = await tied.forward(inputs);
			const [batch, length, vocab] = logits.shape;
			const all = (await logits.data()) as Float32Array;
			const last8 = new Float32Array(batch * 8 * vocab);
			for (let b = 0; b < batch; b++) last8.set(all.subarray(((b + 1) * length - 8) * vocab, (b + 1) * length * vocab), b * 8 * vocab);
			logits.dispose();
			await tied[Symbol.asyncDispose]();
			expect(relativeError(last8, (await golden("tied")).float("logits_last8").data)).toBeLessThanOrEqual(1e-4);
		});
	});

	describe("generate", () => {
		const info = JSON.parse(readFileSync(goldenPath("generate.json"), "utf8")) as {
			eos: number;
			eos_both: number[];
			pad: number;
			text: string[];
		};
		const rowsOf = (g: Golden, name: string) => {
			const { data, shape } = g.int(name);
			return Array.from({ length: shape[0] }, (_, b) => [...data.subarray(b * shape[1], (b + 1) * shape[1])]);
		};

		it("gives transformers' 48 greedy tokens, and its texts", async () => {
			const inputs = inputsOf(await golden("forward"));
			const { tokens, texts, finishReasons } = await model.generate(inputs, { maxNewTokens: 48, eosTokenIds: [] });
			expect(tokens.map((row) => [...row])).toEqual(rowsOf(await golden("generate"), "ids"));
			expect(texts).toEqual(info.text);
			expect(finishReasons).toEqual(["length", "length"]);
		});

		it.each([
			["ids_eos", [info.eos]],
			["ids_eos_both", info.eos_both],
		])("ends each row at its own end token: %s", async (name, eosTokenIds) => {
			const inputs = inputsOf(await golden("forward"));
			const { tokens, finishReasons } = await model.generate(inputs, { maxNewTokens: 48, eosTokenIds });
			for (const [b, want] of rowsOf(await golden("generate"), name).entries()) {
				const end = want.findIndex((id) => eosTokenIds.includes(id));
				expect([...tokens[b]]).toEqual(end < 0 ? want : want.slice(0, end + 1));
				expect(finishReasons[b]).toBe(end < 0 ? "length" : "stop");
			}
		});

		/** The two prompts of the golden batch, each by itself. */
		async function encodedRows(): Promise<EncodedConversation[]> {
			const { inputIds, attentionMask, pixelValues, imageGridThw } = inputsOf(await golden("forward"));
			const [batch, length] = inputIds.shape;
			let patch = 0;
			return Array.from({ length: batch }, (_, b) => {
				const ids = inputIds.data.slice(b * length, (b + 1) * length).filter((_, t) => attentionMask.data[b * length + t]);
				const images = [2 * b, 2 * b + 1].map((i) => {
					const gridThw = [...imageGridThw!.data.subarray(3 * i, 3 * i + 3)] as [number, number, number];
					const patches = gridThw[0] * gridThw[1] * gridThw[2];
					const width = pixelValues!.shape[1];
					const data = pixelValues!.data.slice(patch * width, (patch + patches) * width);
					patch += patches;
					return { pixelValues: { data, shape: [patches, width] as [number, number] }, gridThw };
				});
				return { inputIds: ids, assistantMask: new Uint8Array(ids.length), images };
			});
		}

		it("applies the repetition penalty as transformers does", async () => {
			const inputs = inputsOf(await golden("forward"));
			const { tokens } = await model.generate(inputs, { maxNewTokens: 24, eosTokenIds: [], repetitionPenalty: 1.3 });
			expect(tokens.map((row) => [...row])).toEqual(rowsOf(await golden("generate"), "ids_repetition_penalty_1_3"));
		});

		it("samples by the row's seed, whatever the batch", async () => {
			const inputs = inputsOf(await golden("forward"));
			const options = { maxNewTokens: 12, temperature: 1, topK: 50, topP: 0.95, eosTokenIds: [] };
			const once = await model.generate(inputs, { ...options, seeds: [11, 12] });
			const again = await model.generate(inputs, { ...options, seeds: [11, 12] });
			const other = await model.generate(inputs, { ...options, seeds: [11, 13] });
			expect(again.tokens).toEqual(once.tokens);
			expect(other.tokens[0]).toEqual(once.tokens[0]);
			expect(other.tokens[1]).not.toEqual(once.tokens[1]);
			const topOne = await model.generate(inputs, { ...options, topK: 1, seeds: [5, 6] });
			const greedy = await model.generate(inputs, { maxNewTokens: 12, eosTokenIds: [] });
			expect(topOne.tokens).toEqual(greedy.tokens);
		});

		it("reads a prompt once for several rows: each row as if it had its own", async () => {
			const inputs = inputsOf(await golden("forward"));
			const options = { maxNewTokens: 12, temperature: 1, eosTokenIds: [] };
			const before = memory().numTensors;
			const shared = await model.generate(inputs, { ...options, promptOfRow: [1, 0, 1, 1], seeds: [3, 4, 5, 3] });
			expect(memory().numTensors).toBe(before);
			const [first, second] = [
				await model.generate(inputs, { ...options, seeds: [4, 3] }),
				await model.generate(inputs, { ...options, seeds: [4, 5] }),
			];
			expect(shared.tokens).toEqual([first.tokens[1], first.tokens[0], second.tokens[1], first.tokens[1]]);
		});

		it("streams: rows that come later, in few slots and moving columns, get the tokens they get alone", async () => {
			const [first, second] = await encodedRows();
			const [greedyFirst, greedySecond] = (await model.generate(inputsOf(await golden("forward")), { maxNewTokens: 80, eosTokenIds: [] }))
				.tokens;
			const before = memory().numTensors;
			// 14 rows in 3 slots; the ends are spread by ending at a token that comes at different places.
			const order = [first, second, second, first, first, second, first];
			const requests = order.map((encoded) => ({ encoded, seeds: [0, 1] }));
			async function* arriving() {
				for (const request of requests) {
					await new Promise(setImmediate);
					yield request;
				}
			}
			const end = greedyFirst[20];
			const upTo = (tokens: Int32Array) => [...tokens].slice(0, tokens.includes(end) ? tokens.indexOf(end) + 1 : tokens.length);
			const seen: string[] = [];
			const busy: number[] = [];
			for await (const { request, sample, tokens } of model.generateStream(arriving(), {
				...{ batchSize: 3, maxNewTokens: 80, eosTokenIds: [end] },
				onStep: (running, rows) => busy.push(running / rows),
			})) {
				seen.push(`${request}.${sample}`);
				expect([...tokens], `request ${request}`).toEqual(upTo(order[request] === first ? greedyFirst : greedySecond));
			}
			expect(seen.sort()).toEqual(requests.flatMap((_, i) => [`${i}.0`, `${i}.1`]).sort());
			expect(Math.max(...busy)).toBeLessThanOrEqual(1);
			expect(memory().numTensors).toBe(before);
		});

		it("streams: samples by their own seeds, whatever runs beside them", async () => {
			const [first, second] = await encodedRows();
			const options = { maxNewTokens: 12, temperature: 1, eosTokenIds: [] };
			const collect = async (requests: GenerationRequest[], batchSize: number) => {
				const tokens = new Map<string, number[]>();
				for await (const done of model.generateStream(requests, { ...options, batchSize })) {
					tokens.set(`${requests[done.request].encoded === first} ${requests[done.request].seeds[done.sample]}`, [...done.tokens]);
				}
				return tokens;
			};
			const together = await collect(
				[
					{ encoded: first, seeds: [1, 2, 3] },
					{ encoded: second, seeds: [1, 2] },
				],
				4,
			);
			const apart = await collect(
				[
					{ encoded: second, seeds: [2, 1] },
					{ encoded: first, seeds: [3] },
					{ encoded: first, seeds: [2, 1] },
				],
				1,
			);
			expect([...together].sort()).toEqual([...apart].sort());
			expect(new Set([...together.values()].map(String)).size).toBe(5);
		});

		it("streams: throws what its requests throw after the rows before it, and stops where its reader does, leaving nothing", async () => {
			const [first] = await encodedRows();
			const before = memory().numTensors;
			function* failing(): Generator<GenerationRequest> {
				yield { encoded: first, seeds: [1] };
				throw new Error("the source broke");
			}
			const seen: number[] = [];
			await expect(
				(async () => {
					for await (const { tokens } of model.generateStream(failing(), { maxNewTokens: 4, eosTokenIds: [] })) seen.push(tokens.length);
				})(),
			).rejects.toThrow("the source broke");
			expect(seen).toEqual([4]);
			let closed = false;
			function* endless(): Generator<GenerationRequest> {
				try {
					for (;;) yield { encoded: first, seeds: [1] };
				} finally {
					closed = true;
				}
			}
			for await (const _ of model.generateStream(endless(), { maxNewTokens: 3, batchSize: 2, eosTokenIds: [] })) break;
			expect(closed).toBe(true);
			expect(memory().numTensors).toBe(before);
			expect(() => model.generateStream([], { batchSize: 0 })).toThrow(/batchSize must be a positive integer, got 0/);
		});

		it("streams: rows that end at their first token come out before the next request is waited for", async () => {
			const [first] = await encodedRows();
			const seen: number[] = [];
			async function* oneByOne(): AsyncGenerator<GenerationRequest> {
				for (let i = 0; i < 3; i++) {
					expect(seen).toHaveLength(i); // the request depends on the last one's answer
					yield { encoded: first, seeds: [1] };
					while (seen.length === i) await new Promise(setImmediate);
				}
			}
			for await (const { request } of model.generateStream(oneByOne(), { maxNewTokens: 1 })) seen.push(request);
			expect(seen).toEqual([0, 1, 2]);
		});

		it("streams: a longer or shorter prompt that comes when nothing runs gets the tokens it gets alone", async () => {
			const text = (length: number): EncodedConversation => {
				const inputIds = Int32Array.from({ length }, (_, i) => 10 + ((7 * i) % 40));
				return { inputIds, assistantMask: new Uint8Array(length), images: [] };
			};
			const before = memory().numTensors;
			const prompts = [3, 90, 5, 130].map(text);
			const options = { maxNewTokens: 4, eosTokenIds: [] };
			const want = [];
			for (const prompt of prompts) want.push((await model.generate(model.processor.collate([prompt]), options)).tokens[0]);
			let answers = 0;
			async function* oneByOne(): AsyncGenerator<GenerationRequest> {
				for (const [i, encoded] of prompts.entries()) {
					yield { encoded, seeds: i % 2 ? [0, 1] : [0] };
					const asked = answers;
					while (answers < asked + (i % 2 ? 2 : 1)) await new Promise(setImmediate);
				}
			}
			for await (const { request, tokens } of model.generateStream(oneByOne(), { ...options, batchSize: 2 })) {
				expect(tokens).toEqual(want[request]);
				answers++;
			}
			expect(answers).toBe(6);
			expect(memory().numTensors).toBe(before);
		});

		it("streams: an aborted signal is not kept waiting by a source that has nothing more to say", async () => {
			const [first] = await encodedRows();
			const before = memory().numTensors;
			const abort = new AbortController();
			async function* silent(): AsyncGenerator<GenerationRequest> {
				yield { encoded: first, seeds: [1] };
				await new Promise(() => {});
			}
			const run = async () => {
				const options = { maxNewTokens: 3, eosTokenIds: [], signal: abort.signal };
				for await (const _ of model.generateStream(silent(), options)) setImmediate(() => abort.abort(new Error("enough")));
			};
			await expect(run()).rejects.toThrow("enough");
			expect(memory().numTensors).toBe(before);
		});

		it("leaves nothing behind where a prompt can't be read", async () => {
			const [first] = await encodedRows();
			const [image, other] = first.images;
			const cut = { ...image, pixelValues: { data: image.pixelValues.data.subarray(0, 1176), shape: [1, 1176] as [number, number] } };
			const before = memory().numTensors;
			const run = async () => {
				for await (const _ of model.generateStream([{ encoded: { ...first, images: [cut, other] }, seeds: [1] }])) expect.fail("no row");
			};
			await expect(run()).rejects.toThrow(/rows, but imageGridThw describes/);
			expect(memory().numTensors).toBe(before);
		});

		it("refuses images without placeholders, and gives nothing for no rows", async () => {
			const inputs = inputsOf(await golden("forward"));
			const grids = inputs.imageGridThw!;
			const [image] = gridsOf(await golden("forward"), "image_grid_thw");
			const more = { data: Int32Array.of(...grids.data, ...image), shape: [grids.shape[0] + 1, 3] as [number, number] };
			await expect(model.generate({ ...inputs, imageGridThw: more })).rejects.toThrow(/5 images were given.*placeholders for 4/);
			expect(await model.generate(inputs, { promptOfRow: [] })).toEqual({ tokens: [], texts: [], finishReasons: [] });
		});

		it("gives a row alone what it gives it in a batch", async () => {
			const inputs = inputsOf(await golden("forward"));
			const [, length] = inputs.inputIds.shape;
			const together = await model.generate(inputs, { maxNewTokens: 16, eosTokenIds: [] });
			const grid = inputs.imageGridThw!.data;
			const patchesOf = (i: number) => grid[3 * i] * grid[3 * i + 1] * grid[3 * i + 2];
			const [, width] = inputs.pixelValues!.shape;
			const patchesBefore = (image: number) => Array.from({ length: image }, (_, i) => patchesOf(i)).reduce((a, b) => a + b, 0);
			for (const b of [0, 1]) {
				const mask = inputs.attentionMask.data.subarray(b * length, (b + 1) * length);
				const ids = inputs.inputIds.data.subarray(b * length, (b + 1) * length).filter((_, t) => mask[t]);
				const [from, to] = [patchesBefore(2 * b), patchesBefore(2 * b + 2)];
				const alone = await model.generate(
					{
						inputIds: { data: ids, shape: [1, ids.length] },
						attentionMask: { data: new Int32Array(ids.length).fill(1), shape: [1, ids.length] },
						pixelValues: { data: inputs.pixelValues!.data.slice(from * width, to * width), shape: [to - from, width] },
						imageGridThw: { data: grid.slice(6 * b, 6 * b + 6), shape: [2, 3] },
					},
					{ maxNewTokens: 16, eosTokenIds: [] },
				);
				expect(alone.tokens[0]).toEqual(together.tokens[b]);
			}
		});

		it("stops when its signal is aborted, and leaves no tensor behind", async () => {
			const inputs = inputsOf(await golden("forward"));
			const before = memory().numTensors;
			const abort = new AbortController();
			let steps = 0;
			const running = model.generate(inputs, {
				maxNewTokens: 48,
				eosTokenIds: [],
				signal: abort.signal,
				onStep: () => ++steps === 3 && abort.abort(new Error("enough")),
			});
			await expect(running).rejects.toThrow("enough");
			expect(steps).toBe(3);
			await model.generate(inputs, { maxNewTokens: 8 });
			expect(memory().numTensors).toBe(before);
		});

		it.each([
			[{ maxNewTokens: 0 }, /maxNewTokens must be a positive integer, got 0/],
			[{ temperature: -1 }, /temperature must be 0 \(greedy\) or more, got -1/],
			[{ topP: 0 }, /topP must be in \(0, 1\]/],
			[{ promptOfRow: [0, 2] }, /promptOfRow must be row numbers of the inputs, 0 to 1, got 2/],
			[{ seeds: [1] }, /seeds must be one per row \(2\), got 1/],
		])("refuses %j", async (options, message) => {
			await expect(model.generate(inputsOf(await golden("forward")), options)).rejects.toThrow(message);
		});

		it("refuses right-padded prompts", async () => {
			const inputs = inputsOf(await golden("train"), await golden("forward"));
			await expect(model.generate(inputs, {})).rejects.toThrow(/row 1 must be padded on the left/);
		});
	});

	it("a right-padded batch has the same logits at its tokens as the left-padded one", async () => {
		const g = await golden("forward");
		const left = inputsOf(g);
		const [batch, length] = left.inputIds.shape;
		const moved = (source: Int32Array) => {
			const out = new Int32Array(source.length);
			for (let b = 0; b < batch; b++) {
				const mask = left.attentionMask.data.subarray(b * length, (b + 1) * length);
				out.set(
					source.subarray(b * length, (b + 1) * length).filter((_, t) => mask[t]),
					b * length,
				);
			}
			return out;
		};
		const right: ModelInputs = {
			...left,
			inputIds: { data: moved(left.inputIds.data), shape: left.inputIds.shape },
			attentionMask: { data: moved(left.attentionMask.data), shape: left.inputIds.shape },
		};
		const logits = await model.forward(right);
		const real = realRows((await logits.data()) as Float32Array, right.attentionMask.data, model.config.text.vocabSize);
		logits.dispose();
		expect(relativeError(real, g.float("logits").data)).toBeLessThanOrEqual(1e-4);
	});
}
