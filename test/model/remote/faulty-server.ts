/**
 * An OpenAI-compatible chat server that answers with a function of the request and, by a seeded draw, sometimes fails in one of the ways in which
 * servers do. It counts what it was asked.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

export interface ChatBody {
	model: string;
	messages: { role: string; content: string | { type: string; text?: string; image_url?: { url: string } }[] }[];
	seed: number;
	[field: string]: unknown;
}

/** `half`: the answer ends without a finish_reason; `torn`: in the middle of a line; `error`: an error event in the stream. */
export type Fault = "500" | "503" | "reset" | "stall" | "half" | "torn" | "error";

export interface ServerOptions {
	answer?: (body: ChatBody) => string;
	/** Share of the requests that fail. Default 0. */
	faultRate?: number;
	faults?: readonly Fault[];
	seed?: number;
	/** Answers otherwise than with a completion; returns true then. */
	intercept?: (body: ChatBody, response: ServerResponse, request: IncomingMessage) => boolean;
	/** Before the answer begins. */
	delayMs?: number;
	/** As `delayMs`, for as long as it takes. */
	hold?: () => Promise<void>;
	finishReason?: string | null;
	/** Sends log-probabilities where they are asked for: the alternatives to each piece, itself first. */
	alternatives?: (piece: string) => Record<string, number>;
}

export interface ChatServer extends AsyncDisposable {
	url: string;
	bodies: ChatBody[];
	headers: IncomingMessage["headers"][];
	/** Most requests that were under way together. */
	mostActive: number;
	active: number;
	faults: Record<string, number>;
}

export async function chatServer(options: ServerOptions = {}): Promise<ChatServer> {
	const { faultRate = 0, faults = ["500", "503", "reset", "stall", "half", "torn", "error"], seed = 1, delayMs = 1, intercept } = options;
	const random = xoroshiro128plus(seed);
	const state = { url: "", bodies: [] as ChatBody[], headers: [] as IncomingMessage["headers"][], mostActive: 0, active: 0, faults: {} };
	const counts: Record<string, number> = state.faults;
	const server = createServer(async (request, response) => {
		const chunks: Buffer[] = [];
		for await (const chunk of request) chunks.push(chunk);
		const body = JSON.parse(Buffer.concat(chunks).toString()) as ChatBody;
		state.bodies.push(body);
		state.headers.push(request.headers);
		state.mostActive = Math.max(state.mostActive, ++state.active);
		// Written is ended: by the time of "close", whoever read it may have sent the next.
		const ended = () => {
			response.removeAllListeners("close").removeAllListeners("finish");
			state.active--;
		};
		response.on("finish", ended).on("close", ended);
		const draw = () => (random.next() >>> 0) / 2 ** 32;
		const fault = draw() < faultRate ? faults[Math.floor(draw() * faults.length)] : undefined;
		await setTimeout(delayMs);
		await options.hold?.();
		if (response.destroyed || intercept?.(body, response, request)) return;
		if (fault) counts[fault] = (counts[fault] ?? 0) + 1;
		answer(body, response, fault, options);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
	return Object.assign(state, {
		async [Symbol.asyncDispose]() {
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
		},
	});
}

function answer(body: ChatBody, response: ServerResponse, fault: Fault | undefined, options: ServerOptions): void {
	if (fault === "500" || fault === "503") fail(response, Number(fault), "injected");
	else if (fault === "reset") response.destroy();
	else if (fault !== "stall") complete(body, response, fault, options);
}

/** The streamed answer, whole or as far as the fault lets it come. */
function complete(body: ChatBody, response: ServerResponse, fault: Fault | undefined, options: ServerOptions): void {
	const { answer: reply = () => "<answer>Image 1 is better</answer>", finishReason = "stop" } = options;
	const pieces = reply(body).match(/\s+|\S+/g) ?? [];
	const said = fault ? pieces.slice(0, Math.ceil(pieces.length / 2)) : pieces;
	response.writeHead(200, { "content-type": "text/event-stream" });
	const send = (data: unknown) => response.write(`data: ${JSON.stringify(data)}\n\n`);
	for (const content of said) {
		const logprobs = body.logprobs && options.alternatives ? { content: [logProbsOf(content, options.alternatives(content))] } : null;
		send({ choices: [{ index: 0, delta: { content }, logprobs, finish_reason: null }] });
	}
	if (fault === "torn") {
		response.write('data: {"choices": [{"del', () => response.destroy());
		return;
	}
	if (fault === "error") send({ error: { message: "injected", type: "InternalServerError" } });
	if (!fault) {
		send({ choices: [{ index: 0, delta: {}, finish_reason: finishReason }] });
		send({ choices: [], usage: { completion_tokens: pieces.length + 1 } });
	}
	response.end(fault === "error" || fault === "half" ? "" : "data: [DONE]\n\n");
}

function logProbsOf(token: string, probabilities: Record<string, number>) {
	const all = Object.entries(probabilities).map(([token, probability]) => ({ token, logprob: Math.log(probability), bytes: null }));
	return { ...(all.find((one) => one.token === token) ?? { token, logprob: 0, bytes: null }), top_logprobs: all };
}

/** Answers with an error. @returns true, for an `intercept` */
export function fail(response: ServerResponse, status: number, message: string, headers: Record<string, string> = {}): true {
	response.writeHead(status, { "content-type": "application/json", ...headers });
	response.end(JSON.stringify({ error: { message, code: status } }));
	return true;
}
