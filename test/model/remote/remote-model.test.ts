/** Remote judges against a local server that fails by a seeded draw: exactly once, in bounds, and clear about what is wrong. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as moment } from "node:timers/promises";
import { inspect } from "node:util";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import {
	generateCoT,
	ImageError,
	loadDataset,
	type Message,
	RemoteError,
	type RemoteModelOptions,
	remoteModel,
	scorePair,
} from "../../../src/index.js";
import { type ChatBody, type ChatServer, chatServer, fail } from "./faulty-server.js";

const QUICK = { model: "judge", minBackoffMs: 1, maxBackoffMs: 8, timeoutMs: 200 };
const open = (endpoints: string | string[], options: Partial<RemoteModelOptions> = {}) => remoteModel({ endpoints, ...QUICK, ...options });
type Remote = ReturnType<typeof remoteModel>;

const ask = (text: string): Message[] => [{ role: "user", content: [{ type: "text", text }] }];
const textOf = ({ messages }: ChatBody) => (messages[0].content as { text?: string }[]).map(({ text }) => text ?? "").join("");
/** Names the request and the seed. */
const echo = (body: ChatBody) => `${textOf(body)} with ${body.seed}`;

async function* questions(model: Remote, count: number, samples = 1) {
	for (let i = 0; i < count; i++) {
		const encoded = await model.processor.encodeConversation(ask(`question ${i}`), { addGenerationPrompt: true });
		yield { encoded, seeds: Array.from({ length: samples }, (_, sample) => 10 * i + sample) };
	}
}

async function collect(model: Remote, count: number, options: Parameters<Remote["generateStream"]>[1] = {}, samples = 1) {
	const ended = [];
	for await (const sample of model.generateStream(questions(model, count, samples), options)) ended.push(sample);
	return ended;
}

const failure = async (promise: Promise<unknown>): Promise<Error> => {
	const error = await promise.then(
		() => undefined,
		(thrown: unknown) => thrown,
	);
	expect(error).toBeInstanceOf(Error);
	return error as Error;
};

describe("what is asked", () => {
	it("carries sampling parameters, the row's seed and nothing that was not set", async () => {
		await using server = await chatServer();
		await using model = open(server.url, { extraBody: { chat_template_kwargs: { enable_thinking: false } } });
		await collect(model, 1, {
			temperature: 0.7,
			topP: 0.9,
			topK: 5,
			minP: 0.1,
			repetitionPenalty: 1.1,
			maxNewTokens: 17,
			eosTokenIds: [7],
		});
		await collect(model, 1);
		const [all, least] = server.bodies;
		expect(all).toMatchObject({
			model: "judge",
			temperature: 0.7,
			top_p: 0.9,
			top_k: 5,
			min_p: 0.1,
			repetition_penalty: 1.1,
			max_tokens: 17,
		});
		expect(all).toMatchObject({ seed: 0, stop_token_ids: [7], chat_template_kwargs: { enable_thinking: false }, stream: true });
		expect(least).toMatchObject({ temperature: 0, top_p: 1, max_tokens: 256 });
		for (const field of ["top_k", "min_p", "repetition_penalty", "stop_token_ids"]) expect(least).not.toHaveProperty(field);
	});

	it("sends plain images as they are and others as people see them", async () => {
		const folder = await mkdtemp(join(tmpdir(), "rft-remote-"));
		try {
			const red = sharp({ create: { width: 4, height: 2, channels: 3, background: "#ff0000" } });
			const plain = await red.clone().png().toBuffer();
			await writeFile(join(folder, "plain.png"), plain);
			await red.clone().jpeg().withMetadata({ orientation: 6 }).toFile(join(folder, "turned.jpg"));
			await using server = await chatServer();
			await using model = open(server.url);
			const images = ["plain.png", "turned.jpg"].map((name) => ({ type: "image" as const, image: join(folder, name) }));
			const inputs = await model.processor.encode([[{ role: "user", content: [{ type: "text", text: "Image 1:" }, ...images] }]], {
				addGenerationPrompt: true,
			});
			await model.generate(inputs);
			const parts = server.bodies[0].messages[0].content as { image_url?: { url: string } }[];
			expect(parts[1].image_url?.url).toBe(`data:image/png;base64,${plain.toString("base64")}`);
			const turned = Buffer.from(parts[2].image_url?.url.replace("data:image/png;base64,", "") ?? "", "base64");
			expect(await sharp(turned).metadata()).toMatchObject({ format: "png", width: 2, height: 4 });

			const missing = { type: "image" as const, image: join(folder, "missing.png") };
			await expect(
				model.processor.encodeConversation([{ role: "user", content: [missing] }], { addGenerationPrompt: true }),
			).rejects.toThrow(ImageError);
			// Readable when it was checked, gone when it is sent: this row's own failure.
			const late = await model.processor.encodeConversation([{ role: "user", content: images }], { addGenerationPrompt: true });
			await rm(join(folder, "plain.png"));
			const ended = [];
			for await (const sample of model.generateStream([{ encoded: late, seeds: [1] }])) ended.push(sample);
			expect(ended).toEqual([{ request: 0, sample: 0, error: { kind: "bad-image", message: expect.stringContaining("plain.png") } }]);
		} finally {
			await rm(folder, { recursive: true });
		}
	});
});

describe("what comes back", () => {
	it("text, finish reason and as many tokens as the server counted", async () => {
		await using server = await chatServer({ answer: () => "one two", finishReason: "length" });
		await using model = open(server.url);
		const [sample] = await collect(model, 1);
		expect(sample).toEqual({ request: 0, sample: 0, text: "one two", finishReason: "length", tokens: new Int32Array(4).fill(-1) });
	});

	it("generate puts rows in order, with prompts and seeds as asked", async () => {
		await using server = await chatServer({ answer: echo });
		await using model = open(server.url);
		const inputs = await model.processor.encode([ask("a"), ask("b")], { addGenerationPrompt: true });
		const { texts } = await model.generate(inputs, { promptOfRow: [1, 0, 1], seeds: [5, 6, 7] });
		expect(texts).toEqual(["b with 5", "a with 6", "b with 7"]);
	});

	it("puts thinking that a server's reasoning parser took out back", async () => {
		await using server = await chatServer({
			intercept(_, response) {
				const deltas = [{ reasoning_content: "hm" }, { reasoning_content: "m" }, { content: "\n<answer>x</answer>" }];
				for (const delta of deltas) response.write(`data: ${JSON.stringify({ choices: [{ delta }] })}\n\n`);
				response.end(`data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`);
				return true;
			},
		});
		await using model = open(server.url);
		expect(await collect(model, 1)).toMatchObject([{ text: "<think>hmm</think>\n<answer>x</answer>", tokens: new Int32Array(3).fill(-1) }]);
	});
});

describe("failures", () => {
	it.each([1, 2, 3])("seed %i: 30 of 100 requests fail, and every row comes once, with its own answer", async (seed) => {
		const faults = { faultRate: 0.3, answer: echo };
		await using a = await chatServer({ ...faults, seed });
		await using b = await chatServer({ ...faults, seed: seed + 100 });
		const retries: string[] = [];
		await using model = open([a.url, b.url], {
			concurrency: 8,
			retries: 20,
			timeoutMs: 400,
			onRetry: ({ reason }) => retries.push(reason),
		});
		const ended = await collect(model, 100, {}, 2);
		const key = ({ request, sample }: { request: number; sample: number }) => 10 * request + sample;
		expect(ended.map(key).sort((x, y) => x - y)).toEqual(Array.from({ length: 200 }, (_, i) => 10 * Math.floor(i / 2) + (i % 2)));
		for (const sample of ended)
			expect(sample).toMatchObject({ text: `question ${sample.request} with ${key(sample)}`, finishReason: "stop" });
		const injected = [a, b].flatMap((server) => Object.values(server.faults)).reduce((x, y) => x + y);
		expect(injected).toBeGreaterThan(40);
		// A slow machine adds some: silence is silence.
		expect(retries.length).toBeGreaterThanOrEqual(injected);
		expect(a.bodies.length + b.bodies.length).toBeGreaterThanOrEqual(200 + injected);
		expect(a.bodies.length + b.bodies.length).toBeLessThanOrEqual(200 + retries.length);
	});

	it("a stalled request is given up after timeoutMs, before and within an answer", async () => {
		let stalls = 0;
		await using server = await chatServer({
			answer: echo,
			intercept(_, response) {
				if (stalls++ >= 2) return false;
				if (stalls === 2) response.writeHead(200, { "content-type": "text/event-stream" }).write('data: {"choices": []}\n\n');
				return true;
			},
		});
		const retries: string[] = [];
		await using model = open(server.url, { timeoutMs: 60, onRetry: ({ reason }) => retries.push(reason) });
		const started = performance.now();
		expect(await collect(model, 1)).toMatchObject([{ text: "question 0 with 0" }]);
		expect(performance.now() - started).toBeGreaterThan(110);
		expect(retries).toEqual([expect.stringContaining("nothing for 0.06 s"), expect.stringContaining("nothing for 0.06 s")]);
	});

	it("a server that asks for a pause gets it, for every row, however often", async () => {
		const times: number[] = [];
		const pause = 40;
		await using server = await chatServer({
			answer: echo,
			intercept(_, response) {
				times.push(performance.now());
				if (times.length > 6) return false;
				return fail(response, 429, "slow down", { "retry-after-ms": String(pause) });
			},
		});
		await using model = open(server.url, { concurrency: 2, retries: 1 });
		expect(await collect(model, 4)).toHaveLength(4);
		// Two at once, then nothing until the pause is over.
		for (const round of [1, 2, 3]) expect(times[2 * round] - times[2 * round - 1]).toBeGreaterThan(pause - 5);
		expect(server.mostActive).toBe(2);
	});

	it("an endpoint that is down does not draw the rows of another", async () => {
		await using gone = await chatServer();
		await gone[Symbol.asyncDispose]();
		await using server = await chatServer({ answer: echo });
		let retries = 0;
		await using model = open([gone.url, server.url], { concurrency: 2, minBackoffMs: 5, maxBackoffMs: 1000, onRetry: () => retries++ });
		expect((await collect(model, 60)).every((sample) => "text" in sample)).toBe(true);
		expect(retries).toBeLessThan(20);
	});

	it("a row that is refused fails alone where others are answered, and its sampler's rollout says why", async () => {
		await using server = await chatServer({
			intercept(body, response) {
				if (!textOf(body).includes("circle")) return false;
				return fail(response, 400, "the prompt is too long");
			},
		});
		await using model = open(server.url);
		const records = [];
		for await (const record of loadDataset("hpdv3:test/fixtures/hpdv3/pairs.json")) records.push(record);
		const refused = records.filter(({ prompt }) => prompt.includes("circle")).length;
		expect(refused).toBeGreaterThan(0);
		const rollouts = [];
		for await (const rollout of generateCoT(records, model, { samplesPerRecord: 2 })) rollouts.push(rollout);
		expect(rollouts.map(({ record }) => record.key)).toEqual(records.flatMap(({ key }) => [key, key]));
		const failed = rollouts.filter(({ finishReason }) => finishReason === "error");
		expect(failed).toHaveLength(2 * refused);
		expect(failed[0].error).toEqual({ kind: "error", message: expect.stringContaining("got 400: the prompt is too long") });
	});

	it("a row that makes the server fail each time fails alone, too", async () => {
		await using server = await chatServer({
			answer: echo,
			intercept(body, response) {
				if (body.seed !== 30) return false;
				return fail(response, 500, "out of memory");
			},
		});
		await using model = open(server.url, { concurrency: 2, retries: 3, maxBackoffMs: 4 });
		const ended = await collect(model, 200);
		expect(ended).toHaveLength(200);
		expect(ended.filter((sample) => "error" in sample)).toMatchObject([{ request: 3, error: { kind: "error" } }]);
	});

	it("refusals of everything end the run, not each row", async () => {
		await using server = await chatServer({ intercept: (_, response) => fail(response, 422, "unexpected field top_k") });
		await using model = open(server.url, { concurrency: 4 });
		const error = await failure(collect(model, 1000));
		expect(error).toBeInstanceOf(RemoteError);
		expect(error.message).toContain("got 422: unexpected field top_k");
		expect(server.bodies.length).toBeLessThan(30);
	});

	it.each([
		[401, "no such key", "give an API key that it takes"],
		[404, "no model judge", "GET …/v1/models lists what is served"],
	])("%i ends the run at once and says the way out", async (status, said, wayOut) => {
		await using server = await chatServer({ intercept: (_, response) => fail(response, status, said) });
		const error = await failure(collect(open(server.url, { concurrency: 2 }), 50));
		expect(error.message).toContain(`${server.url}: expected a judgement of judge, got ${status}: ${said}`);
		expect(error.message).toContain(wayOut);
		expect(server.bodies.length).toBeLessThan(5);
	});

	it.each([
		['{"detail":"Unexpected fields: {\'top_k\'}"}', "got 400: Unexpected fields: {'top_k'}"],
		['{"object":"error","message":"too long"}', "got 400: too long"],
		['{"error":"too long"}', "got 400: too long"],
		["<h1>proxy</h1>", "got 400: <h1>proxy</h1>"],
		["", "got 400"],
	])("finds the reason in %s", async (body, expected) => {
		await using server = await chatServer({
			intercept(_, response) {
				response.writeHead(400).end(body);
				return true;
			},
		});
		expect((await failure(collect(open(server.url), 1))).message).toContain(expected);
	});

	it("no server: says where and why, after its attempts", async () => {
		await using gone = await chatServer();
		await gone[Symbol.asyncDispose]();
		const attempts: number[] = [];
		const error = await failure(
			collect(open(gone.url, { retries: 2, concurrency: 1, onRetry: ({ attempt }) => attempts.push(attempt) }), 5),
		);
		expect(error.message).toContain(`${gone.url}: expected a whole answer, got`);
		expect(error.message).toContain("ECONNREFUSED");
		expect(attempts).toEqual([1, 2]);
	});

	it("a source that throws: rows that ran come first", async () => {
		await using server = await chatServer({ answer: echo, delayMs: 20 });
		await using model = open(server.url);
		async function* broken() {
			yield* questions(model, 3);
			throw new Error("disk");
		}
		const ended: unknown[] = [];
		const all = (async () => {
			for await (const sample of model.generateStream(broken())) ended.push(sample);
		})();
		expect((await failure(all)).message).toBe("disk");
		expect(ended).toHaveLength(3);
	});
});

describe("bounds", () => {
	it("concurrency per endpoint, batchSize in all, and no more requests asked for than there is room", async () => {
		// Nobody is answered before both are full, and a moment is over in which one more would come; so it does not depend on how busy the machine is.
		const full = async () => {
			await expect.poll(most, { timeout: 60_000, interval: 5 }).toEqual([3, 3]);
			await moment(20);
		};
		let servers: ChatServer[] = [];
		const most = () => servers.map(({ mostActive }) => mostActive);
		await using a = await chatServer({ answer: echo, hold: full });
		await using b = await chatServer({ answer: echo, hold: full });
		servers = [a, b];
		await using model = open([a.url, b.url], { concurrency: 3, timeoutMs: 60_000 });
		const busy: number[] = [];
		await collect(model, 40, { onStep: (running, rows) => busy.push(running / rows) });
		expect(most()).toEqual([3, 3]);
		expect(Math.max(...busy)).toBe(1);
		await using quick = await chatServer({ answer: echo, delayMs: 10 });
		await using bounded = open(quick.url, { concurrency: 3, timeoutMs: 60_000 });
		let asked = 0;
		async function* counted() {
			for await (const request of questions(bounded, 20)) {
				asked++;
				yield request;
			}
		}
		let ended = 0;
		for await (const _ of bounded.generateStream(counted(), { batchSize: 2 })) expect(asked - ++ended).toBeLessThanOrEqual(2);
		expect(quick.mostActive).toBeLessThanOrEqual(2);
	});

	it.each([
		["a stalled server", { faultRate: 1, faults: ["stall" as const] }, {}],
		["a long pause", { intercept: (_: ChatBody, r: Parameters<typeof fail>[0]) => fail(r, 429, "", { "retry-after": "600" }) }, {}],
		["back-off", { faultRate: 1, faults: ["500" as const] }, { minBackoffMs: 60_000, maxBackoffMs: 60_000 }],
	])("stops within a moment in %s, and leaves no connection", async (_, faults, options) => {
		await using server = await chatServer(faults);
		await using model = open(server.url, { timeoutMs: 60_000, ...options });
		const reason = new Error("the user's reason");
		const controller = new AbortController();
		setTimeout(() => controller.abort(reason), 60);
		const started = performance.now();
		expect(await failure(collect(model, 50, { signal: controller.signal }))).toBe(reason);
		expect(performance.now() - started).toBeLessThan(1000);
		await expect.poll(() => server.active).toBe(0);
	});

	it("a consumer that has enough ends what is under way", async () => {
		await using server = await chatServer({ answer: echo, intercept: (body) => body.seed > 0 });
		await using model = open(server.url, { timeoutMs: 60_000 });
		for await (const _ of model.generateStream(questions(model, 50))) break;
		await expect.poll(() => server.active).toBe(0);
	});
});

describe("the API key", () => {
	const apiKey = "sk-very-secret";

	it("is sent, and shows up in no error and no model, even where the server repeats it", async () => {
		await using server = await chatServer({ intercept: (_, r, { headers }) => fail(r, 401, `bad ${headers.authorization}`) });
		await using model = open(server.url, { apiKey });
		const error = await failure(collect(model, 1));
		expect(server.headers[0].authorization).toBe(`Bearer ${apiKey}`);
		expect(error.message).toContain("bad Bearer [API key]");
		for (const thing of [error, model]) expect(inspect(thing, { depth: 10, showHidden: true })).not.toContain(apiKey);
	});

	it("is not taken from OPENAI_API_KEY", async () => {
		process.env.OPENAI_API_KEY = apiKey;
		try {
			await using server = await chatServer();
			await collect(open(server.url), 1);
			expect(server.headers[0]).not.toHaveProperty("authorization");
		} finally {
			delete process.env.OPENAI_API_KEY;
		}
	});
});

describe("options", () => {
	it.each<[Partial<RemoteModelOptions>, string]>([
		[{ endpoints: [] }, "expected at least one address"],
		[{ endpoints: "localhost" }, "expected an address such as http://localhost:8000/v1, got localhost"],
		[{ endpoints: "ftp://host/v1" }, "expected http:// or https://"],
		[{ endpoints: "http://me:secret@host/v1" }, "expected an address without a password (give it as apiKey), got host with one"],
		[{ endpoints: "http://host/v1?key=secret" }, "expected an address without ? and #, got http://host/v1 with them"],
		[{ endpoints: "http://host/v1/chat/completions" }, "expected the base address, up to /v1"],
		[{ endpoints: ["http://host/v1", "http://host/v1/"] }, "expected each address once"],
		[{ model: "" }, "model: expected the name"],
		[{ apiKey: "" }, "apiKey: expected a key"],
		[{ concurrency: 0 }, "concurrency: expected a whole number, 1 or more, got 0"],
		[{ retries: -1 }, "retries: expected a whole number, 0 or more, got -1"],
	])("%o is refused", (options, expected) => {
		expect(() => remoteModel({ endpoints: "http://host/v1", model: "judge", ...options })).toThrow(expected);
	});

	it("conversations to train on, and token ids, are a local model's", async () => {
		const { processor } = open("http://host/v1");
		await expect(processor.encodeConversation(ask("x"))).rejects.toThrow("expected addGenerationPrompt: true");
		expect(() => processor.decode([1])).toThrow("token ids are the server's");
		expect(() => processor.collate([{ inputIds: new Int32Array(1), assistantMask: new Uint8Array(1), images: [] }])).toThrow(
			"expected a conversation that its own processor encoded",
		);
	});
});

describe("scores", () => {
	const reply = "<think>They say <answer>Image 2</answer>.</think>\n<answer>Image 1 is better</answer>";
	const alternatives = (piece: string): Record<string, number> =>
		piece === "1" ? { "1": 0.6, "2": 0.2, "1 ": 0.1, A: 0.1 } : { [piece]: 1 };
	const answers = { texts: ["Image 1 is better", "Image 2 is better"], score: true };

	it("come from the log-probabilities at the token where the answers part", async () => {
		await using server = await chatServer({ answer: () => reply, alternatives });
		await using model = open(server.url);
		const [sample] = await collect(model, 1, { answers });
		expect(server.bodies[0]).toMatchObject({ logprobs: true, top_logprobs: 20 });
		expect("answerLogProbs" in sample && sample.answerLogProbs?.map(Math.exp)).toEqual([expect.closeTo(0.7, 10), expect.closeTo(0.2, 10)]);
		const images = await Promise.all(
			[1, 2].map((value) =>
				sharp({ create: { width: 8, height: 8, channels: 3, background: { r: value, g: 0, b: 0 } } })
					.png()
					.toBuffer(),
			),
		);
		const score = await scorePair(model, { prompt: "two red circles", images: [images[0], images[1]] });
		expect(score.orders.map(({ image1 }) => image1)).toEqual([expect.closeTo(7 / 9, 10), expect.closeTo(7 / 9, 10)]);
		expect(score.probabilities[0]).toBeCloseTo(0.5, 10);
		expect(server.bodies[1].max_tokens).toBe(64);
		const reasoned = await scorePair(
			model,
			{ prompt: "two red circles", images: [images[0], images[1]] },
			{ useCot: true, maxNewTokens: 99 },
		);
		expect(reasoned.orders.map(({ completion }) => completion)).toEqual([reply, reply]);
		expect(server.bodies[3].max_tokens).toBe(99);
	});

	it("of an answer that is not among the alternatives are no more than the last of them; other answers have none", async () => {
		await using server = await chatServer({
			answer: () => reply,
			alternatives: (piece) => (piece === "1" ? { "1": 0.9, x: 0.01 } : { [piece]: 1 }),
		});
		await using model = open(server.url);
		const [sample] = await collect(model, 1, { answers });
		expect("answerLogProbs" in sample && sample.answerLogProbs?.map(Math.exp)).toEqual([expect.closeTo(0.9, 10), expect.closeTo(0.01, 10)]);
		await using other = await chatServer({ answer: () => "<answer>Both</answer>", alternatives });
		await using second = open(other.url);
		expect(await collect(second, 1, { answers })).toEqual([expect.not.objectContaining({ answerLogProbs: expect.anything() as unknown })]);
	});

	it("are refused by name where the server has none, and what a server can't be made to say before it is asked", async () => {
		await using server = await chatServer({ answer: () => reply });
		await using model = open(server.url);
		expect((await failure(collect(model, 1, { answers }))).message).toMatch(/expected logprobs with the answer.*leave scores out/);
		const asked = server.bodies.length;
		expect((await failure(collect(model, 1, { thinkingBudget: 9, answers }))).message).toMatch(/thinkingBudget: a chat endpoint/);
		expect((await failure(collect(model, 1, { answers: { ...answers, only: true } }))).message).toMatch(/constrained answers/);
		expect(server.bodies).toHaveLength(asked);
	});

	it("repetition is the server's to detect", async () => {
		await using server = await chatServer({ finishReason: "repetition" });
		await using model = open(server.url);
		const [sample] = await collect(model, 1, { repetitionDetection: { maxPatternSize: 9, minCount: 3 } });
		expect(sample).toMatchObject({ finishReason: "repetition" });
		expect(server.bodies[0]).toMatchObject({ repetition_detection: { max_pattern_size: 9, min_pattern_size: 1, min_count: 3 } });
	});
});
