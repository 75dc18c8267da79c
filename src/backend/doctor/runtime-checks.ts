/** Checks of what is installed: the staged TensorFlow and its addon, tried in a child process, and sharp. */
import { loadImageOps } from "../image-ops.js";
import { findNvidiaDriver } from "../nvidia-driver.js";
import { type NativeProbe, probeNative } from "../probe-native.js";
import { cacheFolder } from "../setup/cache-folder.js";
import { findStagedRuntime, readManifest, type StagedRuntime } from "../setup/staged-runtime.js";
import type { RuntimeFlavour } from "../setup/tensorflow-release.js";
import type { DoctorCheck } from "./doctor-check.js";

/** The native runtime as far as it goes: found, loadable, what it can do. */
export interface RuntimeDiagnosis {
	checks: DoctorCheck[];
	/** Present when the addon works. */
	probe?: NativeProbe;
}

/** TensorFlow, addon, device and bfloat16, in the runtime that `selectBackend("auto")` would take. */
export async function diagnoseRuntime(env: NodeJS.ProcessEnv): Promise<RuntimeDiagnosis> {
	const wanted: RuntimeFlavour = findNvidiaDriver(env) ? "cuda" : "cpu";
	const runtime = firstStaged(wanted, env);
	if ("missing" in runtime) {
		const fix = `npx tfjs-rft setup${wanted === "cuda" ? " --device cuda" : ""}`;
		return { checks: [{ name: "TensorFlow", ok: false, found: runtime.missing, fix }] };
	}
	const version = readManifest(runtime.folder)?.tensorflowVersion ?? "unknown version";
	const tensorflow = { name: "TensorFlow", ok: true, found: `${version}, ${runtime.flavour} build, in ${cacheFolder(env)}` };
	const result = await probeNative(runtime.addon, runtime.folder, env);
	if (!result.ok) {
		const fix = `rm -r ${runtime.folder} && npx tfjs-rft setup --device ${runtime.flavour}`;
		return { checks: [tensorflow, { name: "addon", ok: false, found: `${result.problem}: ${result.output}`, fix }] };
	}
	const { probe } = result;
	const addon = { name: "addon", ok: true, found: `loads; MatMul is right (${runtime.addon.binding})` };
	return { checks: [tensorflow, addon, deviceCheck(probe, wanted, runtime), bfloat16Check(probe)], probe };
}

function firstStaged(wanted: RuntimeFlavour, env: NodeJS.ProcessEnv): StagedRuntime | { missing: string } {
	const first = findStagedRuntime(wanted, env);
	if (!("missing" in first)) return first;
	const other = findStagedRuntime(wanted === "cuda" ? "cpu" : "cuda", env);
	return "missing" in other ? first : other;
}

function deviceCheck(probe: NativeProbe, wanted: RuntimeFlavour, runtime: StagedRuntime): DoctorCheck {
	const name = "device";
	if (probe.gpu) return { name, ok: true, found: "GPU" };
	if (wanted === "cpu") return { name, ok: true, found: "CPU" };
	if (runtime.flavour === "cpu") {
		return { name, ok: false, found: "CPU, although an NVIDIA driver is there", fix: "npx tfjs-rft setup --device cuda" };
	}
	return { name, ok: false, found: "CPU: TensorFlow sees no GPU", fix: "check `nvidia-smi` and CUDA_VISIBLE_DEVICES" };
}

function bfloat16Check({ bfloat16 }: NativeProbe): DoctorCheck {
	const name = "bf16 kernels";
	if (bfloat16 === true) return { name, ok: true, found: "MatMul in bfloat16 is right" };
	return { name, ok: false, found: bfloat16, fix: "use float32 (`dtype: float32`)" };
}

/** The image addon. Without it everything works, slower. */
export function checkImageOps(env: NodeJS.ProcessEnv): DoctorCheck {
	const name = "image addon";
	try {
		const found = loadImageOps(env) ? "loads" : "none: images are resized in JavaScript, slower (`npx tfjs-rft setup` compiles it)";
		return { name, ok: true, found };
	} catch (error) {
		return { name, ok: false, found: (error as Error).message, fix: "npx tfjs-rft setup" };
	}
}

/** sharp loads its own native library; a missing one shows only then. */
export async function checkSharp(): Promise<DoctorCheck> {
	try {
		const { default: sharp } = await import("sharp");
		return { name: "sharp", ok: true, found: `${sharp.versions.sharp ?? "unknown"} (libvips ${sharp.versions.vips})` };
	} catch (error) {
		const found = (error as Error).message.split("\n")[0];
		return { name: "sharp", ok: false, found, fix: "npm install --include=optional sharp" };
	}
}
