/**
 * `remoteModel`: a judge behind OpenAI-compatible chat endpoints (vLLM, SGLang, `transformers serve`), as a GenerativeModel.
 *
 * The server tokenizes, so `tokens` of a sample has the right length (the server's usage) and -1 in each place. A request may be asked several
 * times; its sample comes once. The key goes into the client and nowhere else.
 */
import type OpenAI from "openai";
import type { GenerateOptions, GenerateResult, GenerateStreamOptions, GenerativeModel, ModelInputs } from "../generative-model.js";
import { askOnce, type ChatAnswer, type ChatRequest } from "./chat-completion.js";
import { EndpointPool } from "./endpoint-pool.js";
import { fetchWithReason } from "./fetch-with-reason.js";
import { AttemptsOver, generateRows, type RowsUnderWay } from "./generate-rows.js";
import { RemoteError } from "./remote-error.js";
import { remoteProcessor } from "./remote-processor.js";

/** An attempt that failed and is made again. */
export interface RemoteRetry {
	endpoint: string;
	/** Of this request, from 1. */
	attempt: number;
	/** Without the API key. */
	reason: string;
}

export interface RemoteModelOptions {
	/** Base addresses of servers of the same model, such as `http://localhost:8000/v1`. */
	endpoints: string | readonly string[];
	/** The name by which they serve it. */
	model: string;
	/** Sent to every endpoint as bearer token; never logged or written. Default: none. */
	apiKey?: string;
	/** Most requests under way per endpoint. Default 32. */
	concurrency?: number;
	/** How often a request is made again after temporary failures; waits that a server asked for (Retry-After) don't count. Default 10. */
	retries?: number;
	/** Before the first retry, in milliseconds; doubled for each one more, times a random number from 1 to 2. Default 500. */
	minBackoffMs?: number;
	/** Default 30 000. */
	maxBackoffMs?: number;
	/** Longest silence of a server during a request, in milliseconds. Default 300 000, which is also the most that Node's fetch waits. */
	timeoutMs?: number;
	/** More fields of each request's body, such as vLLM's `chat_template_kwargs`; they go before ours. */
	extraBody?: Readonly<Record<string, unknown>>;
	/** Called after each failed attempt that will be made again. */
	onRetry?: (retry: RemoteRetry) => void;
}

/** @throws RangeError, TypeError for options that make no sense. Connects to nothing: an endpoint is first asked when sampling begins. */
export function remoteModel({
	endpoints,
	model,
	apiKey,
	concurrency = 32,
	retries = 10,
	minBackoffMs = 500,
	maxBackoffMs = 30_000,
	timeoutMs = 300_000,
	extraBody = {},
	onRetry,
}: RemoteModelOptions): GenerativeModel & Required<Pick<GenerativeModel, "generateStream">> {
	const urls = checkEndpoints(typeof endpoints === "string" ? [endpoints] : endpoints);
	if (model === "") throw new TypeError("remoteModel: model: expected the name by which the server knows it, got an empty one");
	if (apiKey === "") throw new TypeError("remoteModel: apiKey: expected a key, got an empty text; leave it out for none");
	checkNumbers({ concurrency, retries, minBackoffMs, maxBackoffMs, timeoutMs });
	const pool = new EndpointPool(urls, { concurrency, minBackoffMs, maxBackoffMs });
	const clients = new Map<string, Promise<OpenAI>>();
	const processor = remoteProcessor();
	let disposed = false;

	function clientOf(url: string): Promise<OpenAI> {
		const client = clients.get(url) ?? openClient(url, apiKey, timeoutMs);
		clients.set(url, client);
		return client;
	}

	/** One row, asked until it is answered. An answer that comes while the run ends still counts. */
	async function ask(request: ChatRequest, underWay: RowsUnderWay): Promise<ChatAnswer> {
		let [answeredBefore, othersAnswered] = [underWay.answered, false];
		let answer: ChatAnswer | undefined;
		const { default: pRetry } = await import("p-retry"); // ES modules only
		const attempt = async () => {
			answer = await pool.use(underWay.asking, async ({ url }) => {
				const client = await clientOf(url);
				return askOnce({ url, client, model, apiKey, timeoutMs }, request, underWay.signal);
			});
			return answer;
		};
		try {
			return await pRetry(attempt, {
				...{ retries, factor: 2, minTimeout: minBackoffMs, maxTimeout: maxBackoffMs, randomize: true, signal: underWay.asking },
				shouldConsumeRetry: ({ error }) => !(error instanceof RemoteError && error.retryAfterMs !== undefined),
				shouldRetry: ({ error }) => isTemporary(error),
				onFailedAttempt({ error, attemptNumber, retriesLeft }) {
					othersAnswered = underWay.answered > answeredBefore;
					answeredBefore = underWay.answered;
					if (!isTemporary(error) || retriesLeft === 0 || underWay.asking.aborted) return;
					onRetry?.({ endpoint: error.endpoint, attempt: attemptNumber, reason: error.message });
				},
			});
		} catch (error) {
			if (answer) return answer;
			throw isTemporary(error) ? new AttemptsOver(error, othersAnswered) : error;
		}
	}

	function generateStream(requests: Parameters<NonNullable<GenerativeModel["generateStream"]>>[0], options: GenerateStreamOptions = {}) {
		if (disposed) throw new Error("remoteModel: generate after dispose; make another");
		refuseGuiding(options);
		const capacity = Math.min(options.batchSize ?? pool.capacity, pool.capacity);
		return generateRows(requests, options, capacity, async ({ encoded, seed }, underWay) =>
			ask({ conversation: processor.conversationOf(encoded), seed, sampling: options, extraBody }, underWay),
		);
	}

	/** @throws Error for the first row that can't be generated */
	async function generate(inputs: ModelInputs, { promptOfRow, seeds, ...options }: GenerateOptions = {}): Promise<GenerateResult> {
		const prompts = processor.rowsOf(inputs);
		const rows = promptOfRow ?? prompts.keys();
		const requests = Array.from(rows, (prompt, row) => ({ encoded: prompts[prompt], seeds: [seeds?.[row] ?? row] }));
		const result: GenerateResult = { tokens: [], texts: [], finishReasons: [], ...(options.answers?.score && { answerLogProbs: [] }) };
		for await (const sample of generateStream(requests, options)) {
			if ("error" in sample) throw new Error(`remoteModel: generate: row ${sample.request}: ${sample.error.message}`);
			const { request, tokens, text, finishReason } = sample;
			if (result.answerLogProbs) result.answerLogProbs[request] = sample.answerLogProbs;
			[result.tokens[request], result.texts[request], result.finishReasons[request]] = [tokens, text, finishReason];
		}
		return result;
	}

	return {
		processor,
		canGuide: false,
		generate,
		generateStream,
		async [Symbol.asyncDispose]() {
			disposed = true;
		},
	};
}

/** @throws TypeError for what a chat endpoint can't be made to do */
function refuseGuiding({ answers, thinkingBudget }: GenerateStreamOptions): void {
	const asked = answers?.only ? "answers.only (constrained answers)" : thinkingBudget !== undefined ? "thinkingBudget" : undefined;
	if (asked === undefined) return;
	throw new TypeError(
		`remoteModel: ${asked}: a chat endpoint says its tokens itself and can't be made to; leave it out, or use the server's own means with extraBody (vLLM: structured_outputs, thinking_token_budget)`,
	);
}

function isTemporary(error: unknown): error is RemoteError {
	return error instanceof RemoteError && error.kind === "temporary";
}

/**
 * Everything that the SDK would take from the environment is set: an OPENAI_API_KEY is for OpenAI and not for whatever endpoint is named here.
 * Retries are ours, since they may go to another endpoint.
 */
async function openClient(baseURL: string, apiKey: string | undefined, timeoutMs: number): Promise<OpenAI> {
	const { default: OpenAI } = await import("openai"); // 0.2 s, for those who ask a remote judge
	const none = { organization: null, project: null, webhookSecret: null };
	const headers = apiKey === undefined ? { Authorization: null } : {};
	// Our own clock ends a request first, and also while its answer is read.
	const timeout = Math.min(2 * timeoutMs, 2 ** 31 - 1);
	const quiet = { logLevel: "off", maxRetries: 0, timeout, fetch: fetchWithReason } as const;
	return new OpenAI({ baseURL, apiKey: apiKey ?? "none", ...none, defaultHeaders: headers, ...quiet });
}

function checkEndpoints(endpoints: readonly string[]): string[] {
	if (endpoints.length === 0) throw new TypeError("remoteModel: endpoints: expected at least one address, got none");
	const urls = endpoints.map(checkEndpoint);
	const twice = urls.find((url, i) => urls.indexOf(url) < i);
	if (twice !== undefined) throw new TypeError(`remoteModel: endpoints: expected each address once, got ${twice} twice`);
	return urls;
}

function checkEndpoint(endpoint: string): string {
	const wrong = (expected: string, got = endpoint) => new TypeError(`remoteModel: endpoints: expected ${expected}, got ${got}`);
	if (!URL.canParse(endpoint)) throw wrong("an address such as http://localhost:8000/v1");
	const url = new URL(endpoint);
	if (url.protocol !== "http:" && url.protocol !== "https:") throw wrong("http:// or https://");
	if (url.username || url.password) throw wrong("an address without a password (give it as apiKey)", `${url.host} with one`);
	if (url.search || url.hash) throw wrong("an address without ? and #", `${url.origin}${url.pathname} with them`);
	if (/\/(chat\/)?completions\/?$/.test(url.pathname)) throw wrong("the base address, up to /v1");
	return url.href.replace(/\/$/, "");
}

function checkNumbers({
	retries,
	...positive
}: Record<"concurrency" | "retries" | "minBackoffMs" | "maxBackoffMs" | "timeoutMs", number>): void {
	if (!Number.isSafeInteger(retries) || retries < 0)
		throw new RangeError(`remoteModel: retries: expected a whole number, 0 or more, got ${retries}`);
	for (const [name, value] of Object.entries(positive)) {
		if (!Number.isSafeInteger(value) || value < 1)
			throw new RangeError(`remoteModel: ${name}: expected a whole number, 1 or more, got ${value}`);
	}
}
