/**
 * The model's process: started by `hostModel`, it loads the model and answers one request after the other.
 *
 * It lives as long as its parent: when the channel closes it kills itself, without running the native libraries' own teardown.
 * Ctrl-C and a service manager's SIGTERM reach every process of the group; here they are left to the parent, who may
 * still want its calls answered.
 */
import type { GenerativeModel } from "../generative-model.js";
import { loadModel } from "../qwen2_5_vl/load.js";
import { type Answer, type ChildMessage, type ParentMessage, packError, type Request } from "./messages.js";

let model: GenerativeModel | undefined;
let running: { id: number; stop: AbortController } | undefined;

function send(message: ChildMessage): void {
	process.send?.(message);
}

async function answer(request: Request): Promise<Answer> {
	if (request.type === "load") {
		const loaded = await loadModel(request.dir, request.options);
		model = loaded;
		return { type: "loaded", backendReason: loaded.backendReason };
	}
	if (!model) throw new Error("model-process: generate before load");
	const stop = new AbortController();
	running = { id: request.id, stop };
	const onStep = (running: number, rows: number) => send({ type: "step", running, rows });
	const result = await model.generate(request.inputs, { ...request.options, signal: stop.signal, onStep });
	return { type: "generated", result };
}

async function reply(request: Request): Promise<void> {
	send(await answer(request).catch((error): Answer => ({ type: "failed", error: packError(error) })));
}

if (process.send === undefined) {
	throw new Error("model-process: this file is the process that hostModel starts; call hostModel, don't run it");
}
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("message", (message: ParentMessage) => {
	if (message.type !== "abort") void reply(message);
	else if (running?.id === message.id) running.stop.abort();
});
send({ type: "ready" });
