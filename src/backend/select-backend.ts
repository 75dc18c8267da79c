/**
 * Chooses the backend: native GPU → native CPU → wasm → cpu, and says why.
 *
 * `auto` takes the first candidate that works and keeps what the better ones said; a name is taken or refused.
 * A native addon is probed in a child process before it is loaded here. The engine behind TensorFlow.js is
 * process-wide, so is the choice: asked again, the same answer is given.
 */
import { availableParallelism } from "node:os";
import { BackendUnavailableError } from "./backend-unavailable-error.js";
import { useCpu } from "./cpu.js";
import { useNative } from "./native.js";
import { findNvidiaDriver } from "./nvidia-driver.js";
import { probeNative } from "./probe-native.js";
import { findStagedRuntime, type StagedRuntime } from "./setup/staged-runtime.js";
import { memory } from "./tf.js";
import { useWasm } from "./wasm.js";

/** What a caller may ask for; every name but `auto` is taken literally and never replaced by another. */
export type BackendRequest = "auto" | BackendName;
/** A backend as it is reported. */
export type BackendName = "native-gpu" | "native-cpu" | "wasm" | "cpu";

/** The backend that was made current, and why this one. */
export interface SelectedBackend {
	name: BackendName;
	/** One line for a person: what was taken and, for each better candidate, why it was not. */
	reason: string;
}

/** Every backend, best first: the order of `auto`. */
export const BACKENDS: readonly BackendName[] = ["native-gpu", "native-cpu", "wasm", "cpu"];

/** A candidate that cannot be had: an ordinary answer under `auto`, an error when it was asked for. */
class Refusal extends Error {
	constructor(
		message: string,
		readonly wayOut: string,
	) {
		super(message);
	}
}

let current: SelectedBackend | undefined;
let pending: Promise<unknown> = Promise.resolve();

/**
 * Makes a backend current for the whole process.
 *
 * @param request `auto` (default) for the best one there is, or, after an earlier choice, the one that is current;
 *   a name for that one and no other
 * @throws BackendUnavailableError when a backend asked for by name cannot be had, or when another one is current and still
 *   holds tensors
 */
export function selectBackend(request: BackendRequest = "auto"): Promise<SelectedBackend> {
	// One choice at a time: two callers at start-up must not both load the native runtime.
	const result = pending.then(() => select(request));
	pending = result.catch(() => {});
	return result;
}

async function select(request: BackendRequest): Promise<SelectedBackend> {
	if (current && (request === "auto" || request === current.name)) return current;
	if (current && request !== "auto") refuseWhileInUse(current.name, request);
	current = request === "auto" ? await firstThatWorks() : await exactly(request);
	return current;
}

function refuseWhileInUse(active: BackendName, request: BackendName): void {
	const { numTensors } = memory();
	if (numTensors === 0) return;
	const problem = `"${active}" is current in this process and holds ${numTensors} tensors`;
	throw new BackendUnavailableError(request, problem, "dispose the models and tensors first, or use another process");
}

async function exactly(name: BackendName): Promise<SelectedBackend> {
	try {
		return { name, reason: `${name}: asked for; ${await activate(name)}` };
	} catch (error) {
		const wayOut = error instanceof Refusal ? error.wayOut : `see \`npx tfjs-rft doctor\``;
		throw new BackendUnavailableError(name, (error as Error).message, wayOut, error);
	}
}

async function firstThatWorks(): Promise<SelectedBackend> {
	const refusals: string[] = [];
	for (const name of BACKENDS) {
		try {
			const found = await activate(name);
			return { name, reason: [`${name}: ${found}`, ...refusals].join("; ") };
		} catch (error) {
			const wayOut = error instanceof Refusal ? ` (${error.wayOut})` : "";
			refusals.push(`no ${name}: ${(error as Error).message}${wayOut}`);
		}
	}
	throw new Error(`no backend works: ${refusals.join("; ")}`);
}

/** Makes the candidate current and describes it, or throws why not. */
async function activate(name: BackendName): Promise<string> {
	switch (name) {
		case "native-gpu":
			return activateNativeGpu();
		case "native-cpu":
			return activateNativeCpu();
		case "wasm":
			await useWasm();
			return "WebAssembly kernels, one thread";
		case "cpu":
			await useCpu();
			return "plain JavaScript kernels, very slow";
	}
}

async function activateNativeGpu(): Promise<string> {
	const setup = "run `npx tfjs-rft setup --device cuda`";
	const runtime = findStagedRuntime("cuda");
	if ("missing" in runtime) {
		if (findNvidiaDriver()) throw new Refusal(runtime.missing, setup);
		throw new Refusal("no NVIDIA driver on this machine", `install the driver, then ${setup}`);
	}
	const { tensorflowVersion, gpu } = await probed(runtime);
	if (!gpu) throw new Refusal("TensorFlow sees no GPU", "check `nvidia-smi` and CUDA_VISIBLE_DEVICES; `npx tfjs-rft doctor` tells more");
	await useNative(runtime, "gpu");
	return `TensorFlow ${tensorflowVersion}, CUDA`;
}

async function activateNativeCpu(): Promise<string> {
	// The CUDA runtime has the CPU kernels too; the smaller one is preferred where both are staged.
	const candidates = [findStagedRuntime("cpu"), findStagedRuntime("cuda")];
	const runtime = candidates.find((candidate) => !("missing" in candidate)) ?? candidates[0];
	if ("missing" in runtime) throw new Refusal(runtime.missing, "run `npx tfjs-rft setup`");
	const { tensorflowVersion } = await probed(runtime);
	await useNative(runtime, "cpu");
	return `TensorFlow ${tensorflowVersion}, ${availableParallelism()} cores`;
}

async function probed(runtime: StagedRuntime) {
	const result = await probeNative(runtime.addon, runtime.folder);
	if (result.ok) return result.probe;
	throw new Refusal(`${result.problem} (${result.output.split("\n").at(-1)})`, "run `npx tfjs-rft doctor`");
}
