/**
 * A judge inside a node:http service: POST {"caption", "images": [base64, base64]} to /judge, get its reasoning and answer.
 * The judge has a process of its own: requests wait for one another there, the event loop stays free, and a native crash fails one
 * request. A client that hangs up cancels its judgement within one decode step.
 *
 *     npx tsx examples/05-http-service.ts [--port 8080] [--judge examples/judge]
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { fillTemplate, hostModel, ImageError, type Message, parseJudgement, readPromptTemplate } from "../src/index.js";

const { values } = parseArgs({
	options: { port: { type: "string", default: "8080" }, judge: { type: "string", default: "examples/judge" } },
});
const MAX_BODY_BYTES = 20 * 2 ** 20;
const requestSchema = z.strictObject({ caption: z.string().min(1).max(10_000), images: z.tuple([z.base64(), z.base64()]) });

const judge = await hostModel(values.judge);
const template = await readPromptTemplate(join(values.judge, "prompt.txt"));

async function judgePair(body: unknown, signal: AbortSignal) {
	const { caption, images } = requestSchema.parse(body);
	const [first, second] = images.map((image) => ({ type: "image" as const, image: Buffer.from(image, "base64") }));
	const content = [
		{ type: "text" as const, text: "**Image 1:** " },
		first,
		{ type: "text" as const, text: "\n**Image 2:** " },
		second,
		{ type: "text" as const, text: `\n${fillTemplate(template, caption)}` },
	];
	const conversation: Message[] = [{ role: "user", content }];
	const inputs = await judge.processor.encode([conversation], { addGenerationPrompt: true });
	const { texts } = await judge.generate(inputs, { maxNewTokens: 180, signal });
	const judgement = parseJudgement(texts[0]);
	return { text: texts[0], answer: judgement.ok ? judgement.winner : null };
}

async function readBody(request: IncomingMessage): Promise<unknown> {
	const chunks: Buffer[] = [];
	let bytes = 0;
	for await (const chunk of request as AsyncIterable<Buffer>) {
		bytes += chunk.length;
		if (bytes > MAX_BODY_BYTES) throw new RangeError(`the body is larger than ${MAX_BODY_BYTES} bytes`);
		chunks.push(chunk);
	}
	return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

function send(response: ServerResponse, status: number, body: unknown): void {
	response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const server = createServer(async (request, response) => {
	if (request.method !== "POST" || request.url !== "/judge") return send(response, 404, { error: "POST /judge" });
	const gone = new AbortController();
	response.on("close", () => gone.abort(new Error("the client hung up")));
	try {
		send(response, 200, await judgePair(await readBody(request), gone.signal));
	} catch (error) {
		const bad = error instanceof z.ZodError || error instanceof SyntaxError || error instanceof RangeError || error instanceof ImageError;
		if (!gone.signal.aborted)
			send(response, bad ? 400 : 500, { error: error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message });
	}
});
server.listen(Number(values.port), "127.0.0.1", () => {
	const { port } = server.address() as { port: number };
	console.log(`judge on http://127.0.0.1:${port}/judge; ${judge.backendReason}`);
});
process.on("SIGTERM", () => server.close(() => void judge[Symbol.asyncDispose]()));
