/**
 * What went wrong with one request to a chat endpoint, and what follows from it:
 * - `temporary`: asked again (429, 408, 409, 425, 5xx, a lost connection, silence, half an answer);
 * - `refused`: this request will never be answered (400, 413, 422, a content filter); others may be;
 * - `endpoint`: no request will be (401, 403, 404, no quota left …).
 *
 * Messages are made here, from the server's text with the API key taken out. The SDK's error is not kept as a cause: it carries the whole body
 * of the response, and a server may echo what it was sent.
 */
import type { APIError } from "openai";

export type RemoteErrorKind = "temporary" | "refused" | "endpoint";

/** A chat endpoint that did not answer. */
export class RemoteError extends Error {
	override readonly name = "RemoteError";
	/** The server's status code, where there was an answer. */
	readonly status?: number;
	/** How long the server asked to be left alone. */
	readonly retryAfterMs?: number;

	constructor(
		readonly endpoint: string,
		readonly kind: RemoteErrorKind,
		message: string,
		{ status, retryAfterMs }: { status?: number; retryAfterMs?: number } = {},
	) {
		super(`${endpoint}: ${message}`);
		this.status = status;
		this.retryAfterMs = retryAfterMs;
	}
}

const LONGEST_DETAIL = 500;
/** A server that asks for more is taken to be mistaken. */
const LONGEST_PAUSE_MS = 3_600_000;
const REFUSED = new Set([400, 413, 422]);
const TEMPORARY = new Set([408, 409, 425, 429]);

/** @param thrown by the SDK, or while its stream was read */
export function remoteError(thrown: unknown, endpoint: string, model: string, apiKey: string | undefined): RemoteError {
	const detail = shorten(hideKey(describe(thrown), apiKey));
	if (!isStatusError(thrown)) {
		return new RemoteError(endpoint, "temporary", `expected a whole answer, got ${detail}; is the server up, and is the address right?`);
	}
	const { status, code } = thrown;
	const kind = kindOf(status, code);
	const got = `got ${status}: ${detail}`;
	const retryAfterMs = retryAfter(thrown.headers);
	return new RemoteError(endpoint, kind, `expected a judgement of ${model}, ${got}${wayOut(status, code)}`, { status, retryAfterMs });
}

function kindOf(status: number, code: string | null | undefined): RemoteErrorKind {
	if (code === "insufficient_quota") return "endpoint";
	if (REFUSED.has(status)) return "refused";
	return TEMPORARY.has(status) || status >= 500 ? "temporary" : "endpoint";
}

function wayOut(status: number, code: string | null | undefined): string {
	if (code === "insufficient_quota") return "; the account has no quota left: add some, or take another endpoint";
	if (status === 401 || status === 403) return "; give an API key that it takes (`apiKey`, TFJS_RFT_API_KEY on the command line)";
	if (status === 404 || status === 405) return "; the address mostly ends in /v1, and GET …/v1/models lists what is served";
	if (status === 413) return "; send smaller images, or raise the server's limit";
	if (status === 429) return "; ask for less at once (`concurrency`, --batch_size)";
	return "";
}

/** Retry-After in seconds or as a date, or retry-after-ms. */
function retryAfter(headers: Headers | undefined): number | undefined {
	const ms = Number.parseFloat(headers?.get("retry-after-ms") ?? "");
	if (ms >= 0) return Math.min(ms, LONGEST_PAUSE_MS);
	const value = headers?.get("retry-after")?.trim();
	if (!value) return undefined;
	const wait = /^[\d.]+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
	return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), LONGEST_PAUSE_MS);
}

/** The SDK's APIError for an answer with a status code; told by its shape, so that the SDK is loaded where a judge is asked and not with this. */
function isStatusError(thrown: unknown): thrown is APIError<number, Headers> {
	return thrown instanceof Error && "headers" in thrown && "status" in thrown && typeof thrown.status === "number";
}

/** A socket's own reason says more than the SDK's "Connection error." around it. */
function describe(thrown: unknown): string {
	if (!(thrown instanceof Error)) return String(thrown);
	if (isStatusError(thrown)) return thrown.message.replace(/^\d{3} /, "");
	const reasons: string[] = [];
	for (let error: unknown = thrown; error instanceof Error && reasons.length < 5; error = error.cause) {
		const code = (error as NodeJS.ErrnoException).code;
		if (!("status" in error && error.cause)) reasons.push(error.message || code || error.name);
	}
	return reasons.join(": ") || thrown.message;
}

function shorten(text: string): string {
	return text.length > LONGEST_DETAIL ? `${text.slice(0, LONGEST_DETAIL)}…` : text;
}

function hideKey(text: string, apiKey: string | undefined): string {
	return apiKey ? text.replaceAll(apiKey, "[API key]") : text;
}
