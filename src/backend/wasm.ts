/**
 * TensorFlow.js's WebAssembly kernels in Node: the fallback that needs nothing but npm.
 *
 * One thread: tfjs-backend-wasm 4.22 turns its threads off in Node, whatever is asked for.
 */
import { createRequire } from "node:module";
import path from "node:path";
import { setBackend } from "./tf.js";

const PACKAGE = "@tensorflow/tfjs-backend-wasm";

/**
 * Makes the wasm backend current.
 *
 * @throws Error when the package's .wasm files cannot be loaded
 */
export async function useWasm(): Promise<void> {
	const { setWasmPaths, setThreadsCount } = await import("@tensorflow/tfjs-backend-wasm");
	const manifest = createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`);
	if (!wasmPathsSet) {
		setWasmPaths(`${path.join(path.dirname(manifest), "dist")}${path.sep}`);
		setThreadsCount(1);
		wasmPathsSet = true;
	}
	if (!(await setBackend("wasm"))) throw new Error(`${PACKAGE} could not be initialised; its message is above`);
}

/** setWasmPaths may be called once per process, before the backend starts. */
let wasmPathsSet = false;
