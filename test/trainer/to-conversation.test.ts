import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import { generateCoT } from "../../src/sampler/generate-cot.js";
import { fakeModel } from "../../src/testing.js";
import { conversationMessages } from "../../src/trainer/conversation-messages.js";
import { readConversations, writeConversations } from "../../src/trainer/sharegpt.js";
import { toConversation } from "../../src/trainer/to-conversation.js";
import { collect, temporaryFolder } from "../dataset/hpdv3-folder.js";
import { rollout } from "../reward/rollouts.js";
import { BETTER, judgement, record, records, rightAnswer, WORSE } from "../sampler/records.js";

const images = resolve("test/fixtures/hpdv3/images");
const judged = (completion: string, overrides: Parameters<typeof rollout>[2] = {}) => judgeRollout(rollout(0, completion, overrides));

describe("toConversation", () => {
	it("exports the images as they were shown, with the text that was about them", () => {
		const swapped = record(0, { images: [BETTER, WORSE], preferred: 0, order: [1, 0] });
		const row = toConversation(
			judged(" <think>\n2 is red. </think>   <answer>Image 2 is better.</answer>\n", { record: swapped, seed: 7, sampleIndex: 3 }),
		);
		expect(row).toEqual({
			conversations: [
				{ from: "human", value: "**Image 1:** <image>\n**Image 2:** <image>\nWhich?" },
				{ from: "gpt", value: "<think>\n2 is red.\n</think>\n<answer>Image 2 is better.</answer>" },
			],
			images: [WORSE, BETTER],
			provenance: { key: "key-0", source: "hpdv3:pairs.json", row: 0, order: [1, 0], sampleIndex: 3, seed: 7, preferred: 0 },
		});
	});

	it("is true to the judge in every row: the image that the answer names is the preferred one", async () => {
		for await (const one of generateCoT(records(12), fakeModel({ answer: rightAnswer }))) {
			const row = toConversation(judgeRollout(one));
			const said = /Image ([12]) is better/.exec(row.conversations[1].value)?.[1];
			expect(row.images[Number(said) - 1]).toBe(BETTER);
			expect(row.conversations[0].value.split("<image>")).toHaveLength(row.images.length + 1);
		}
	});

	it("trains on the question that was asked: the row's messages are those that the judge read", async () => {
		const asked: unknown[] = [];
		const model = fakeModel({
			answer(conversation) {
				asked.push(conversation[0]);
				return rightAnswer(conversation);
			},
		});
		const tricky = record(1, { prompt: 'an <image> of "$&" {prompt} <think>' });
		const [one] = await collect(generateCoT([tricky], model));
		const [question] = conversationMessages(toConversation(judgeRollout(one)), "row 0");
		expect([question]).toEqual(asked);
	});

	it("writes paths relative to a root, and refuses a root that does not hold them", () => {
		const good = judged(judgement(1));
		expect(toConversation(good, { imageRoot: "test/fixtures/hpdv3" }).images).toEqual([
			"images/one-red-circle.jpg",
			"images/two-red-circles.png",
		]);
		expect(() => toConversation(good, { imageRoot: join(images, "sub") })).toThrow(
			/imageRoot .*sub: expected a folder that holds .*one-red-circle\.jpg/,
		);
	});

	it("has a bare form, without placeholders", () => {
		const row = toConversation(judged(judgement(1)), { bareImages: true });
		expect(row.conversations[0].value).toBe("Which?");
		expect(row.images).toHaveLength(2);
		expect(() => toConversation(judged(judgement(1), { promptText: "Which?" }), { bareImages: true })).toThrow(
			/expected a promptText that starts with/,
		);
	});

	it("has no think block where no reasoning was asked for", () => {
		const one = judgeRollout(rollout(0, "<answer>Image 1 is better</answer>"), { useCot: false });
		expect(toConversation(one).conversations[1].value).toBe("<answer>Image 1 is better</answer>");
	});

	it("sets an <image> that the judge wrote apart", () => {
		expect(toConversation(judged(judgement(1, "an <image>"))).conversations[1].value).toContain("an < image >");
	});

	it("refuses a rollout without an answer", () => {
		expect(() => toConversation(judged("so"))).toThrow(
			/record 0 of pairs\.json \(key-0\), sample 0: expected a rollout with a parsed answer, got outcome unparsable/,
		);
	});
});

describe("conversation files", () => {
	it("come back as they were written", async () => {
		const file = join(await temporaryFolder(), "train.json");
		const rows = [1, 2].map((sampleIndex) => toConversation(judged(judgement(1), { sampleIndex })));
		expect(await writeConversations(file, rows)).toBe(2);
		expect(await collect(readConversations(file))).toEqual(rows);
	});

	it("in the bare form come back in the judge's form", async () => {
		const file = join(await temporaryFolder(), "train.json");
		const one = judged(judgement(1));
		await writeConversations(file, [toConversation(one, { bareImages: true })]);
		expect(await collect(readConversations(file))).toEqual([toConversation(one)]);
	});

	it.each([
		[
			[{ from: "human", value: "<image> <image>" }],
			["a.png"],
			"field images: expected one per <image>, got 2 placeholders but 1 image; add the image or remove a placeholder",
		],
		[
			[{ from: "human", value: "<image>" }],
			["a.png", "b.png"],
			"got 1 placeholder but 2 images; add <image> where the image goes, or remove it",
		],
		[[{ from: "gpt", value: "hm" }], ["a.png", "b.png"], "got 0 placeholders but 2 images"],
		[[{ from: "user", value: "hm" }], [], 'field conversations.0.from: expected "human" or "gpt" or "system", got string "user"'],
		[[], [], "field conversations: expected array to have >=1 items"],
	])("with a row such as %j and images %j are refused", async (conversations, imagesOfRow, message) => {
		const file = join(await temporaryFolder(), "train.json");
		const good = toConversation(judged(judgement(1)));
		await writeFile(file, JSON.stringify([good, { conversations, images: imagesOfRow }]));
		await expect(collect(readConversations(file))).rejects.toThrow(message);
		await expect(collect(readConversations(file))).rejects.toThrow(`record 1 of ${file}`);
	});

	it("may hold plain text rows", async () => {
		const file = join(await temporaryFolder(), "train.jsonl");
		await writeFile(file, '{"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"ho"}]}\n');
		expect(await collect(readConversations(file))).toMatchObject([{ images: [] }]);
	});
});
