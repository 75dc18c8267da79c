/**
 * fetch, with the reason of a refusal where the SDK looks for it: in `error`. FastAPI servers (vLLM, SGLang, `transformers serve`) say it in `detail` or
 * `message`, proxies in plain text, and the SDK would report "no body".
 */
export async function fetchWithReason(input: string | URL | Request, init?: RequestInit): Promise<Response> {
	const response = await fetch(input, init);
	if (response.ok) return response;
	const { status, headers } = response;
	return new Response(withReason(await response.text()), { status, headers });
}

function withReason(body: string): string {
	const parsed = asObject(body);
	if (parsed?.error) return typeof parsed.error === "string" ? JSON.stringify({ error: { message: parsed.error } }) : body;
	const reason = parsed?.detail ?? parsed?.message ?? body;
	return JSON.stringify({ error: { message: typeof reason === "string" ? reason : JSON.stringify(reason) } });
}

/** What is no JSON object is text. */
function asObject(body: string): Record<string, unknown> | undefined {
	try {
		const parsed: unknown = JSON.parse(body);
		return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
	} catch {
		return undefined;
	}
}
