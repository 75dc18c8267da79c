import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { EncodedConversation } from "../../src/model/generative-model.js";
import { collateExamples, countLabels, encodeRow } from "../../src/trainer/collate.js";
import { conversationMessages } from "../../src/trainer/conversation-messages.js";
import type { ShareGptConversation } from "../../src/trainer/sharegpt.js";
import { shuffledIndices } from "../../src/trainer/step-loader.js";
import { BigramModel } from "../fakes/bigram-model.js";

const conversation = (value: string, images: string[], answer = "ok"): ShareGptConversation => ({
	conversations: [
		{ from: "system", value: "be fair" },
		{ from: "human", value },
		{ from: "gpt", value: answer },
	],
	images,
});
const text = (text: string) => ({ type: "text", text });
const image = (image: string) => ({ type: "image", image });

describe("conversationMessages", () => {
	it("puts an image part where each placeholder is", () => {
		const messages = conversationMessages(conversation("A <image> and\n<image>B", ["x.png", "y.png"]), "row 0");
		expect(messages).toEqual([
			{ role: "system", content: "be fair" },
			{ role: "user", content: [text("A "), image("x.png"), text(" and\n"), image("y.png"), text("B")] },
			{ role: "assistant", content: "ok" },
		]);
	});

	it("puts the images of the bare form first", () => {
		const [, user] = conversationMessages(conversation("Which?", ["x.png", "y.png"]), "row 0");
		expect(user.content).toEqual([image("x.png"), image("y.png"), text("Which?")]);
	});

	it("leaves a conversation without images, and an <image> in the answer, as text", () => {
		const messages = conversationMessages(conversation("hi", [], "an <image>"), "row 0");
		expect(messages.map((m) => m.content)).toEqual(["be fair", "hi", "an <image>"]);
	});

	it("gives each turn its own images", () => {
		const two: ShareGptConversation = {
			conversations: [
				{ from: "human", value: "<image>1" },
				{ from: "gpt", value: "a" },
				{ from: "human", value: "2<image>" },
			],
			images: ["x", "y"],
		};
		expect(conversationMessages(two, "row 0").map((m) => m.content)).toEqual([[image("x"), text("1")], "a", [text("2"), image("y")]]);
	});

	it("resolves images inside the data root, and refuses those outside", () => {
		const [, user] = conversationMessages(conversation("<image>", ["a/b.png"]), "row 0", "/data/root");
		expect(user.content).toEqual([image("/data/root/a/b.png")]);
		const [, dotted] = conversationMessages(conversation("<image>", ["..b.png"]), "row 0", "/data/root");
		expect(dotted.content).toEqual([image("/data/root/..b.png")]);
		for (const outside of ["../x.png", "/etc/passwd", "a/../../x.png"]) {
			const wrong = () => conversationMessages(conversation("<image>", [outside]), "row 3", "/data/root");
			expect(wrong).toThrow(`row 3: image ${outside} lies outside the data root /data/root`);
		}
		expect(conversationMessages(conversation("<image>", ["/data/root/x.png"]), "row 0", "/data/root")).toHaveLength(3);
	});

	it("refuses an image that is a link out of the data root, before it is read", async () => {
		const scratch = await mkdtemp(join(tmpdir(), "rft-links-"));
		try {
			await mkdir(join(scratch, "root"));
			await writeFile(join(scratch, "secret.png"), "x");
			await symlink(join(scratch, "secret.png"), join(scratch, "root", "link.png"));
			const encoding = encodeRow(conversation("<image>", ["link.png"]), 3, new BigramModel().processor, {
				dataRoot: join(scratch, "root"),
			});
			await expect(encoding).rejects.toThrow(/row 3.*link\.png, a link to .*secret\.png, lies outside the data root/);
		} finally {
			await rm(scratch, { recursive: true });
		}
	});

	it.each([
		["<image>", ["x", "y"], /row 5: 1 <image> placeholders but 2 images/],
		["<image><image>", ["x"], /row 5: 2 <image> placeholders but 1 images/],
		["<image>", [], /row 5: 1 <image> placeholders but 0 images/],
	])("refuses %j with images %j", (value, images, message) => {
		expect(() => conversationMessages(conversation(value, images), "row 5")).toThrow(message);
	});
});

describe("collateExamples", () => {
	const encoded = (ids: number[], mask: number[]): EncodedConversation => ({
		inputIds: Int32Array.from(ids),
		assistantMask: Uint8Array.from(mask),
		images: [],
	});

	it("labels each position with the assistant's token after it, in a right-padded batch", () => {
		const examples = [
			{ row: 0, encoded: encoded([10, 11, 12, 13, 14], [0, 0, 1, 1, 0]) },
			{ row: 1, encoded: encoded([20, 21, 22], [1, 0, 1]) }, // nothing comes before token 0, so nothing predicts it
		];
		const { inputs, positions, targets } = collateExamples(examples, new BigramModel().processor);
		expect([...inputs.inputIds.data]).toEqual([10, 11, 12, 13, 14, 20, 21, 22, 0, 0]);
		expect([...inputs.attentionMask.data]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
		expect([...positions]).toEqual([1, 2, 6]);
		expect([...targets]).toEqual([12, 13, 22]);
		expect(examples.map((e) => countLabels(e.encoded))).toEqual([2, 1]);
	});

	it("throws what is not the image's fault", async () => {
		const broken = { ...new BigramModel().processor, encodeConversation: () => Promise.reject(new Error("tokenizer gone")) };
		await expect(encodeRow(conversation("a", []), 0, broken)).rejects.toThrow("tokenizer gone");
	});
});

describe("shuffledIndices", () => {
	it("is a permutation, fixed by seed and epoch", () => {
		const first = shuffledIndices(100, 42, 0);
		expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
		expect(shuffledIndices(100, 42, 0)).toEqual(first);
		expect(shuffledIndices(100, 42, 1)).not.toEqual(first);
		expect(shuffledIndices(100, 43, 0)).not.toEqual(first);
	});
});
