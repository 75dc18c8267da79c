/**
 * `compile(fn)`: what `tf.function` is to TensorFlow, for TensorFlow.js on the native backend.
 *
 * The first call with given shapes runs `fn` eagerly and records its ops (record-graph.ts); the recording becomes a TensorFlow function in the
 * same eager context, and later calls are one native call on the same device tensors. What a reader would get wrong: JavaScript runs
 * at the recorded call only, so whatever it computes from numbers, closed-over arrays or the time is fixed then; variables are not, they
 * are read and assigned at each call.
 */
import { currentNativeBackend, type NativeBackend } from "../native-binding.js";
import { engine, getBackend, type Tensor } from "../tf.js";
import { callInScope } from "./call-in-scope.js";
import { CaptureError } from "./capture-error.js";
import { CapturedFunction } from "./captured-function.js";
import { isRecording, recordCall, traceCall } from "./record-graph.js";
import { type Arguments, readArguments } from "./tensor-structure.js";

export { CaptureError } from "./capture-error.js";

/** Signatures of which eager calls are counted, for each graph that is kept. */
const WAITING_PER_GRAPH = 16;

export interface CompileOptions {
	/** Shown in TensorFlow's errors and profiles. Default: `fn`'s own name. */
	name?: string;
	/** Graphs kept; the one not used for the longest time is dropped. Default 16. */
	maxSignatures?: number;
	/** Calls of a signature that stay eager before one is recorded: with 1, what comes only once costs no graph. Default 0. */
	eagerCalls?: number;
	/**
	 * Record without computing: the first call, too, is a run of the graph, with the same numbers to the bit and no eager pass's memory. For
	 * functions that make and assign no variable, and whose shapes all follow from the inputs' shapes. Default false.
	 */
	trace?: boolean;
}

/** A compiled function. Call it as `fn`; the caller owns what it returns, as with any op. */
export interface Compiled<Args extends unknown[], Result> {
	(...args: Args): Result;
	/**
	 * The same off the event loop; calls of one compiled function run one after the other. The results belong to no `tidy` scope. A call that records
	 * (or an eager one) runs on the event loop.
	 *
	 * @param signal checked before the call starts: a call that runs is not interrupted
	 * @throws the signal's reason; whatever the call throws
	 */
	runAsync(args: Args, options?: { signal?: AbortSignal }): Promise<Result>;
	/** `graph` where calls run as graphs on the current backend, `eager` where they are plain calls of `fn`. */
	readonly mode: "graph" | "eager";
	/** Why. */
	readonly modeReason: string;
	/** Graphs held now. */
	readonly signatures: number;
	/** Graphs made so far; more than `maxSignatures` means that some were dropped. */
	readonly recordings: number;
	/** Calls so far. */
	readonly calls: number;
	/** Those of them that were plain calls of `fn`; the others recorded a graph or ran one. */
	readonly eagerCalls: number;
	/** Drops all graphs and what they hold on the device. A later call records again. */
	dispose(): void;
}

/**
 * Wraps a function of tensors so that it runs as one TensorFlow graph.
 *
 * The arguments and the result may be tensors, or arrays and plain objects of tensors; arguments also resource variables, and numbers, strings and
 * booleans, each value of which is a graph of its own. Inside another gradient or another compiled function, a call is a plain call of `fn`, so that it can be differentiated and recorded.
 *
 * @param fn tensors → tensors; may use gradients, assign variables, close over tensors. Synchronous.
 * @throws CaptureError (from the first call) when `fn` reads results on the host, is random without a seed, keeps a tensor, or
 *   disposes one that it did not make; TypeError for arguments or results that are neither
 */
export function compile<Args extends unknown[], Result>(
	fn: (...args: Args) => Result,
	{ name = fn.name, maxSignatures = 16, eagerCalls = 0, trace = false }: CompileOptions = {},
): Compiled<Args, Result> {
	if (!(maxSignatures >= 1)) throw new RangeError(`compile: maxSignatures is ${maxSignatures}; expected at least 1`);
	if (!(eagerCalls >= 0)) throw new RangeError(`compile: eagerCalls is ${eagerCalls}; expected 0 or more`);
	const graphs = new Signatures(fn, name || "fn", maxSignatures, eagerCalls);

	/** The graph for a call and its inputs, or the result of the call where there is none to run. */
	const prepare = (args: Args): { graph: CapturedFunction; inputs: Tensor[] } | { result: unknown } => {
		graphs.calls++;
		const backend = graphBackend();
		if (typeof backend !== "string" && !isRecording(backend) && engine().state.gradientDepth === 0) {
			const given = readArguments(args);
			const graph = graphs.find(given.key, backend);
			if (graph) return { graph, inputs: [...given.tensors, ...given.handles] };
			if (graphs.isDue(given.key)) {
				if (!trace) return { result: graphs.record(backend, args, given) };
				return { graph: graphs.trace(backend, args, given), inputs: [...given.tensors, ...given.handles] };
			}
		}
		graphs.eagerCalls++;
		return { result: callEagerly(fn, args) };
	};
	const call = (...args: Args): Result => {
		const prepared = prepare(args);
		return ("result" in prepared ? prepared.result : prepared.graph.run(prepared.inputs)) as Result;
	};

	let queue: Promise<unknown> = Promise.resolve();
	const runAsync = (args: Args, { signal }: { signal?: AbortSignal } = {}): Promise<Result> => {
		const run = async () => {
			signal?.throwIfAborted();
			const prepared = prepare(args);
			return ("result" in prepared ? prepared.result : await prepared.graph.runAsync(prepared.inputs)) as Result;
		};
		const turn = queue.then(run);
		queue = turn.catch(() => {}); // Its caller gets the error; the next call doesn't depend on it.
		return turn;
	};

	const members = {
		mode: { get: () => (typeof graphBackend() === "string" ? "eager" : "graph") },
		modeReason: {
			get: () => {
				const backend = graphBackend();
				return typeof backend === "string" ? backend : "the native backend runs each signature as one TensorFlow function";
			},
		},
		signatures: { get: () => graphs.size },
		recordings: { get: () => graphs.recordings },
		calls: { get: () => graphs.calls },
		eagerCalls: { get: () => graphs.eagerCalls },
		runAsync: { value: runAsync },
		dispose: { value: () => graphs.clear() },
	};
	return Object.defineProperties(call, members) as Compiled<Args, Result>;
}

/** The current backend where it runs graphs, else why it doesn't. */
function graphBackend(): NativeBackend | string {
	const backend = currentNativeBackend();
	if (!backend) return `the backend "${getBackend()}" has no graphs: calls go to the function itself`;
	if (backend.binding.addFunction) return backend;
	return "this addon of tfjs-node has no addFunction: calls are eager; `npx tfjs-rft setup` compiles one that has it, selectBackend loads it";
}

function callEagerly<Args extends unknown[]>(fn: (...args: Args) => unknown, args: Args): unknown {
	const { tensors, rebuild } = callInScope(() => fn(...args));
	return rebuild(tensors);
}

/** The graphs of one compiled function, the least recently used first. */
class Signatures {
	recordings = 0;
	calls = 0;
	eagerCalls = 0;
	private readonly graphs = new Map<string, CapturedFunction>();
	/** Signatures whose recorded call made a variable, with its name. */
	private readonly initialised = new Map<string, string>();
	/** Eager calls of signatures that wait for their recording, the latest last. */
	private readonly waiting = new Map<string, number>();

	constructor(
		private readonly fn: (...args: never[]) => unknown,
		private readonly label: string,
		private readonly limit: number,
		private readonly eagerFirst: number,
	) {}

	get size(): number {
		return this.graphs.size;
	}

	find(key: string, backend: NativeBackend): CapturedFunction | undefined {
		const graph = this.graphs.get(key);
		if (graph?.backend !== backend) return undefined;
		this.graphs.delete(key);
		this.graphs.set(key, graph);
		return graph;
	}

	/** Makes and keeps a call's graph without running it. */
	trace(backend: NativeBackend, args: readonly unknown[], given: Arguments): CapturedFunction {
		const { result, recording } = traceCall(backend, this.fn, args, given);
		const graph = new CapturedFunction(this.label, backend, recording, result);
		this.add(given.key, graph);
		return graph;
	}

	/** Whether a signature without a graph has had its eager calls; counts this one if not. Rare signatures are forgotten, the oldest first. */
	isDue(key: string): boolean {
		const calls = this.waiting.get(key) ?? 0;
		if (calls >= this.eagerFirst) return true;
		this.waiting.delete(key);
		this.waiting.set(key, calls + 1);
		for (const oldest of this.waiting.keys()) {
			if (this.waiting.size <= WAITING_PER_GRAPH * this.limit) break;
			this.waiting.delete(oldest);
		}
		return false;
	}

	/** Runs a call eagerly and keeps its graph. */
	record(backend: NativeBackend, args: readonly unknown[], given: Arguments): unknown {
		const { result, recording, newVariables } = recordCall(backend, this.fn, args, given);
		const { key } = given;
		try {
			if (recording) this.add(key, new CapturedFunction(this.label, backend, recording, result));
			else this.initialise(key, newVariables[0]);
		} catch (error) {
			for (const tensor of result.tensors) tensor.dispose();
			throw error;
		}
		return result.rebuild(result.tensors);
	}

	clear(): void {
		for (const key of [...this.graphs.keys()]) this.drop(key);
		this.initialised.clear();
		this.waiting.clear();
	}

	private add(key: string, graph: CapturedFunction): void {
		this.drop(key);
		this.graphs.set(key, graph);
		this.recordings++;
		for (const oldest of this.graphs.keys()) {
			if (this.size <= this.limit) break;
			this.drop(oldest);
		}
	}

	private initialise(key: string, variable: string): void {
		const earlier = this.initialised.get(key);
		if (earlier !== undefined) {
			const problem = `the function makes variables at every call ("${earlier}", then "${variable}")`;
			throw new CaptureError("variable", problem, "make them once, on the first call or outside");
		}
		this.initialised.set(key, variable);
	}

	private drop(key: string): void {
		this.graphs.get(key)?.dispose();
		this.graphs.delete(key);
	}
}
