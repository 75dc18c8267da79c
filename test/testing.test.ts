import { describe, expect, it } from "vitest";
import { ImageError, type Message } from "../src/model/generative-model.js";
import { fakeModel } from "../src/testing.js";
import { BETTER } from "./sampler/records.js";

const say = (text: string): Message[] => [{ role: "user", content: text }];

describe("fakeModel", () => {
	const model = fakeModel({ answer: ([{ content }], seed) => `you said: ${content} (${seed})` });

	it("answers each row from its conversation and its seed, and 0 where it is greedy", async () => {
		const inputs = await model.processor.encode([say("a"), say("b c")], { addGenerationPrompt: true });
		const sampled = await model.generate(inputs, { temperature: 1, seeds: [7, 8] });
		expect(sampled.texts).toEqual(["you said: a (7)", "you said: b c (8)"]);
		expect(sampled.finishReasons).toEqual(["stop", "stop"]);
		expect((await model.generate(inputs, { seeds: [7, 8] })).texts).toEqual(["you said: a (0)", "you said: b c (0)"]);
	});

	it("has real tokens: they decode to the text, and a limit or an end token cuts it", async () => {
		const inputs = await model.processor.encode([say("a")]);
		const { tokens, texts } = await model.generate(inputs);
		expect(model.processor.decode(tokens[0])).toBe(texts[0]);
		expect(await model.generate(inputs, { maxNewTokens: 3 })).toMatchObject({ texts: ["you said:"], finishReasons: ["length"] });
		expect(await model.generate(inputs, { maxNewTokens: tokens[0].length })).toMatchObject({ finishReasons: ["stop"] });
		expect(await model.generate(inputs, { eosTokenIds: [tokens[0][2]] })).toMatchObject({ texts: ["you said:"], finishReasons: ["stop"] });
	});

	it("pads on the asked side and masks what an assistant says", async () => {
		const left = await model.processor.encode([say("a"), say("a b")], { addGenerationPrompt: true });
		const [rows, width] = left.attentionMask.shape;
		expect(rows).toBe(2);
		expect([...left.attentionMask.data.subarray(0, width)]).toEqual([0, 0, ...Array(width - 2).fill(1)]);
		const right = await model.processor.encode([say("a"), say("a b")], { paddingSide: "right" });
		expect(right.attentionMask.data[0]).toBe(1);
		const taught = await model.processor.encodeConversation([...say("a"), { role: "assistant", content: "ho ho" }]);
		expect([...taught.assistantMask]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
	});

	it("takes image files and bytes, and refuses a file that is not there", async () => {
		const show = (image: string | Buffer): Message[] => [{ role: "user", content: [{ type: "image", image }] }];
		const inputs = await model.processor.encode([show(BETTER), show(Buffer.from("png"))]);
		expect(inputs.imageGridThw?.shape).toEqual([2, 3]);
		await expect(model.processor.encode([show("/lost.png")])).rejects.toThrow(ImageError);
		await expect(model.processor.encode([show(Buffer.alloc(0))])).rejects.toThrow(/empty file/);
	});

	it("counts running rows per step, and stops at a signal", async () => {
		const inputs = await model.processor.encode([say("a"), say("a b c d")]);
		const running: number[] = [];
		const { tokens } = await model.generate(inputs, { onStep: (rows) => running.push(rows) });
		expect(running.reduce((sum, rows) => sum + rows, 0)).toBe(tokens[0].length + tokens[1].length);
		const controller = new AbortController();
		let steps = 0;
		const onStep = () => {
			if (++steps === 2) controller.abort(new Error("enough"));
		};
		await expect(model.generate(inputs, { signal: controller.signal, onStep })).rejects.toThrow("enough");
		expect(steps).toBe(2);
	});

	it("refuses inputs that it did not make, and work after its end", async () => {
		const other = fakeModel({ answer: () => "" });
		const inputs = await other.processor.encode([say("a")]);
		await expect(model.generate(inputs)).rejects.toThrow(/inputs of its own processor/);
		await other[Symbol.asyncDispose]();
		await expect(other.generate(inputs)).rejects.toThrow(/after dispose/);
	});
});
