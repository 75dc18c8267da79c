/**
 * One request to a chat endpoint: the conversation with its images, the sampling parameters in the names that vLLM and SGLang share, and the
 * streamed answer.
 *
 * Streamed for two reasons: silence shows a stalled server long before a whole answer is late, and proxies cut connections on which nothing
 * happens. An answer counts when its finish_reason has come; without one it is half an answer.
 */
import type OpenAI from "openai";
import type {
	ChatCompletionChunk,
	ChatCompletionCreateParamsStreaming,
	ChatCompletionMessageParam,
} from "openai/resources/chat/completions";
import type { ContentPart, FinishReason, GenerateStreamOptions, Message, RepetitionDetection } from "../generative-model.js";
import { answerLogProbs, type TokenLogProb } from "./answer-log-probs.js";
import { RemoteError, remoteError } from "./remote-error.js";
import { imageDataUrl } from "./remote-image.js";

/** Most that OpenAI's interface gives. */
const TOP_LOGPROBS = 20;
/** Enough for `<answer>Image 1 is better</answer>` in any vocabulary. */
const STRAIGHT_TOKENS = 64;

export interface ChatAnswer {
	text: string;
	/** From the server's usage; from the number of pieces where it sends none. */
	numTokens: number;
	finishReason: FinishReason;
	/** Where scores were asked for and the answer is one of the texts. */
	answerLogProbs?: number[];
}

export interface ChatRequest {
	conversation: Message[];
	seed: number;
	sampling: GenerateStreamOptions;
	/** Fields of the body that go before ours. */
	extraBody: Readonly<Record<string, unknown>>;
}

export interface ChatServer {
	client: OpenAI;
	url: string;
	model: string;
	apiKey: string | undefined;
	/** Longest silence, in milliseconds. */
	timeoutMs: number;
}

/** @throws RemoteError; ImageError; the signal's reason */
export async function askOnce(server: ChatServer, request: ChatRequest, signal: AbortSignal): Promise<ChatAnswer> {
	const body = await chatBody(server.model, request);
	const attempt = new AbortController();
	const silence = setTimeout(() => attempt.abort(new Error(`nothing for ${server.timeoutMs / 1000} s`)), server.timeoutMs);
	const pass = () => attempt.abort(signal.reason);
	signal.addEventListener("abort", pass);
	try {
		signal.throwIfAborted();
		const chunks = await server.client.chat.completions.create(body, { signal: attempt.signal });
		const answer = await gather(chunks, () => silence.refresh());
		attempt.signal.throwIfAborted(); // the SDK ends the stream without an error then
		return { ...finish(server, answer), ...scoreOf(server, answer, request.sampling) };
	} catch (thrown) {
		signal.throwIfAborted();
		if (thrown instanceof RemoteError) throw thrown;
		throw remoteError(attempt.signal.aborted ? attempt.signal.reason : thrown, server.url, server.model, server.apiKey);
	} finally {
		clearTimeout(silence);
		signal.removeEventListener("abort", pass);
	}
}

async function chatBody(
	model: string,
	{ conversation, seed, sampling, extraBody }: ChatRequest,
): Promise<ChatCompletionCreateParamsStreaming> {
	const {
		temperature = 0,
		topP = 1,
		topK,
		minP,
		repetitionPenalty,
		maxNewTokens = 256,
		eosTokenIds,
		answers,
		repetitionDetection,
	} = sampling;
	// A chat endpoint can't be made to begin with the answer; the question asks for it.
	const maxTokens = answers?.straight ? Math.max(maxNewTokens, STRAIGHT_TOKENS) : maxNewTokens;
	return {
		...{ model, messages: await Promise.all(conversation.map(chatMessage)), stream: true, stream_options: { include_usage: true } },
		...{ max_tokens: maxTokens, temperature, top_p: topP, seed },
		// Not OpenAI's; the names of vLLM and SGLang. Their "all" for top_k is -1.
		...(topK !== undefined && { top_k: topK === 0 ? -1 : topK }),
		...(minP !== undefined && { min_p: minP }),
		...(repetitionPenalty !== undefined && { repetition_penalty: repetitionPenalty }),
		...(eosTokenIds !== undefined && { stop_token_ids: eosTokenIds }),
		...(repetitionDetection && { repetition_detection: detectionBody(repetitionDetection) }),
		...(answers?.score && { logprobs: true, top_logprobs: TOP_LOGPROBS }),
		...extraBody,
	};
}

const detectionBody = ({ maxPatternSize, minPatternSize = 1, minCount }: RepetitionDetection) => {
	return { max_pattern_size: maxPatternSize, min_pattern_size: minPatternSize, min_count: minCount };
};

async function chatMessage({ role, content }: Message): Promise<ChatCompletionMessageParam> {
	if (typeof content === "string") return { role, content };
	if (role === "user") return { role, content: await Promise.all(content.map(chatPart)) };
	const images = content.filter(({ type }) => type === "image").length;
	if (images > 0) throw new Error(`remote model: expected images in user turns only, got ${images} in a turn of the ${role}`);
	return { role, content: content.map((part) => (part.type === "text" ? part.text : "")).join("") };
}

async function chatPart(part: ContentPart) {
	if (part.type === "text") return part;
	return { type: "image_url" as const, image_url: { url: await imageDataUrl(part.image) } };
}

interface Gathered {
	reasoning: string;
	content: string;
	pieces: number;
	usage: number | undefined;
	finishReason: string | undefined;
	tokens: TokenLogProb[];
}

/** A server with a reasoning parser sends the thinking apart, under one of these names. */
type Delta = ChatCompletionChunk.Choice.Delta & { reasoning_content?: string | null; reasoning?: string | null };

async function gather(chunks: AsyncIterable<ChatCompletionChunk>, onChunk: () => void): Promise<Gathered> {
	const answer: Gathered = { reasoning: "", content: "", pieces: 0, usage: undefined, finishReason: undefined, tokens: [] };
	for await (const { choices, usage } of chunks) {
		onChunk();
		if (Number.isSafeInteger(usage?.completion_tokens)) answer.usage = usage?.completion_tokens;
		const choice = choices?.[0];
		if (!choice) continue;
		for (const token of choice.logprobs?.content ?? []) answer.tokens.push(token);
		const delta: Delta | undefined = choice.delta;
		const [reasoning, content] = [delta?.reasoning_content ?? delta?.reasoning ?? "", delta?.content ?? ""];
		answer.reasoning += reasoning;
		answer.content += content;
		if (reasoning !== "" || content !== "") answer.pieces++;
		answer.finishReason = choice.finish_reason ?? answer.finishReason;
	}
	return answer;
}

function finish({ url }: ChatServer, { reasoning, content, pieces, usage, finishReason }: Gathered): ChatAnswer {
	if (finishReason === undefined || finishReason === "abort") {
		throw new RemoteError(url, "temporary", `expected a whole answer, got ${pieces} pieces without a finish_reason; the server cut it off`);
	}
	if (finishReason !== "stop" && finishReason !== "length" && finishReason !== "repetition") {
		const wayOut = "; only `stop`, `length` and vLLM's `repetition` end a judgement";
		throw new RemoteError(url, "refused", `expected finish_reason stop or length, got ${JSON.stringify(finishReason)}${wayOut}`);
	}
	const open = finishReason === "length" && content === "";
	const text = reasoning === "" ? content : `<think>${reasoning}${open ? "" : `</think>${content}`}`;
	return { text, numTokens: usage ?? pieces, finishReason };
}

/** @throws RemoteError for a server that sends no log-probabilities */
function scoreOf(
	{ url }: ChatServer,
	{ tokens, pieces }: Gathered,
	{ answers }: GenerateStreamOptions,
): Pick<ChatAnswer, "answerLogProbs"> {
	if (!answers?.score) return {};
	if (tokens.length === 0 && pieces > 0) {
		const wayOut = "leave scores out, or ask a server that gives them (vLLM and SGLang do)";
		throw new RemoteError(url, "endpoint", `expected logprobs with the answer, to score it, got none; ${wayOut}`);
	}
	const logProbs = answerLogProbs(tokens, answers.texts);
	return logProbs ? { answerLogProbs: logProbs } : {};
}
