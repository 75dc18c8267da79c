/**
 * tfjs-node-gpu's kernels on the addon that `tfjs-rft setup` compiled against libtensorflow.
 */
import { createRequire } from "node:module";
import { registerBackend, setBackend } from "./tf.js";

const require = createRequire(import.meta.url);

/** Registers the native backend under the name `tensorflow` and makes it current. */
export async function useNative(): Promise<void> {
	process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
	const addon = process.env.TFJS_RFT_ADDON ?? "/tmp/tfrt/tfjs_binding.node";
	const util = require("node:util");
	util.isNullOrUndefined ??= (x: unknown) => x === null || x === undefined;
	require("@tensorflow/tfjs-node-gpu/dist/register_all_kernels");
	const { NodeJSKernelBackend } = require("@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend");
	const binding = require(addon);
	registerBackend("tensorflow", () => new NodeJSKernelBackend(binding, "tfjs-node-gpu"), 3);
	await setBackend("tensorflow");
}
