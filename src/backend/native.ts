/**
 * Loads the staged native runtime into this process and registers it with TensorFlow.js.
 *
 * tfjs-node-gpu's own index.js is not used: it insists on an addon in its own folder and needs install-time packages.
 * Its kernels and its backend class are loaded instead, and given the addon that setup compiled.
 * They call `util.isNullOrUndefined` (gone since Node 23) and `util.isArray` (warned of since 22): both are put back first.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { NATIVE_BACKEND, type NativeBackend, type NativeBinding } from "./native-binding.js";
import { trackNativeTypes } from "./native-types.js";
import type { StagedRuntime } from "./setup/staged-runtime.js";
import { findBackend, registerBackend, setBackend } from "./tf.js";

const load = createRequire(import.meta.url);
/** Above wasm (2) and cpu (1), as tfjs-node has it. */
const PRIORITY = 3;
/** What libtensorflow prints whenever it is loaded, see native/redirect_fd.cc. */
const LOAD_NOTICES = [/^WARNING: All log messages before absl::InitializeLog/, /oneDNN custom operations are on/];
/** What a CUDA runtime prints when its GPUs are hidden from it, which is what was asked for. */
const HIDDEN_GPU_NOTICES = [/failed call to cuInit/];
/** What a second copy of tfjs prints when tfjs-node-gpu comes from setup's cache folder; the first copy stays in charge. */
const SECOND_COPY_NOTICES = [/backend was already registered/, /^Platform \w+ has already been set/, /is already registered/];

/**
 * Makes the native backend current, loading it on the first call.
 *
 * Sets `TF_CPP_MIN_LOG_LEVEL=2` and, on a GPU, `TF_FORCE_GPU_ALLOW_GROWTH=true`, unless the user set them.
 *
 * @param runtime what `findStagedRuntime` found; probe it first: a bad addon ends the process
 * @param device `cpu` hides the GPUs from a CUDA runtime
 * @throws Error when this process has loaded the runtime for the other device: TensorFlow is loaded once per process
 */
export async function useNative(runtime: StagedRuntime, device: "gpu" | "cpu"): Promise<NativeBackend> {
	const registered = findBackend(NATIVE_BACKEND) as NativeBackend | null;
	if (registered && registered.isUsingGpuDevice !== (device === "gpu")) {
		throw new Error(`this process has loaded TensorFlow for the ${device === "gpu" ? "CPU" : "GPU"} already; start another process`);
	}
	if (!registered) register(runtime, device);
	if (!(await setBackend(NATIVE_BACKEND))) throw new Error("TensorFlow.js refused the native backend; its message is above");
	return findBackend(NATIVE_BACKEND) as NativeBackend;
}

function register(runtime: StagedRuntime, device: "gpu" | "cpu"): void {
	if (device === "gpu") process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= "true";
	else if (runtime.flavour === "cuda") process.env.CUDA_VISIBLE_DEVICES = "-1";
	const binding = loadBinding(runtime, device === "cpu" ? [...LOAD_NOTICES, ...HIDDEN_GPU_NOTICES] : LOAD_NOTICES);
	const isNullOrUndefined = (value: unknown) => value === null || value === undefined;
	Object.assign(load("node:util") as object, { isNullOrUndefined, isArray: Array.isArray });
	const dist = path.join(runtime.kernels, "dist");
	const { NodeJSKernelBackend } = withoutNotices(() => {
		load(path.join(dist, "register_all_kernels"));
		return load(path.join(dist, "nodejs_kernel_backend")) as {
			NodeJSKernelBackend: new (binding: NativeBinding, packageName: string) => NativeBackend;
		};
	});
	const backend = new NodeJSKernelBackend(binding, "@tensorflow/tfjs-node-gpu");
	trackNativeTypes(backend);
	registerBackend(NATIVE_BACKEND, () => backend, PRIORITY);
}

/** Loads the addon; stderr is read meanwhile and handed on without the notices. */
function loadBinding({ addon }: StagedRuntime, notices: readonly RegExp[]): NativeBinding {
	if (process.env.TF_CPP_MIN_LOG_LEVEL !== undefined) return load(addon.binding) as NativeBinding;
	process.env.TF_CPP_MIN_LOG_LEVEL = "2";
	const descriptors = load(addon.redirect) as { redirect(fd: number, onto: number): number; restore(fd: number, saved: number): void };
	const folder = mkdtempSync(path.join(tmpdir(), "tfjs-rft-stderr-"));
	const file = path.join(folder, "stderr");
	const sink = openSync(file, "a");
	const saved = descriptors.redirect(2, sink);
	try {
		return load(addon.binding) as NativeBinding;
	} finally {
		descriptors.restore(2, saved);
		closeSync(sink);
		const lines = readFileSync(file, "utf8").split("\n");
		rmSync(folder, { recursive: true });
		const rest = lines.filter((line) => !notices.some((notice) => notice.test(line))).join("\n");
		if (rest.trim()) process.stderr.write(rest);
	}
}

function withoutNotices<T>(action: () => T): T {
	const { warn } = console;
	console.warn = (...args: unknown[]) => {
		if (!SECOND_COPY_NOTICES.some((notice) => notice.test(String(args[0])))) warn.apply(console, args);
	};
	try {
		return action();
	} finally {
		console.warn = warn;
	}
}
