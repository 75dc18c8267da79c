/**
 * What this machine has, what it lacks, and the command that brings it. Nothing is changed, nothing is downloaded, and no
 * native library is loaded into this process but sharp's and the image addon; TensorFlow's addon is tried in a child process.
 */
import type { DoctorCheck } from "./doctor/doctor-check.js";
import { checkBfloat16Instructions, checkCores, checkGpu, checkMemory, checkNode, checkSetupTools } from "./doctor/machine-checks.js";
import { checkImageOps, checkSharp, diagnoseRuntime, type RuntimeDiagnosis } from "./doctor/runtime-checks.js";
import type { BackendName } from "./select-backend.js";

export interface DoctorReport {
	/** True when every check is. False does not mean that nothing works: `backend` says what would run. */
	ok: boolean;
	/** In the order in which a person would read them. */
	checks: DoctorCheck[];
	/** What `selectBackend("auto")` would take on this machine. */
	backend: BackendName;
}

/**
 * Looks the machine over. Takes a second the first time, less when the addon has been probed before.
 *
 * @param env environment for the cache folder and the tools' PATH; default `process.env`
 */
export async function doctor({ env = process.env }: { env?: NodeJS.ProcessEnv } = {}): Promise<DoctorReport> {
	const runtime = await diagnoseRuntime(env);
	const checks = [
		checkNode(),
		checkCores(),
		checkMemory(),
		checkBfloat16Instructions(),
		await checkGpu(env),
		...runtime.checks,
		await checkSharp(),
		checkImageOps(env),
		...(await checkSetupTools(env, runtime.probe !== undefined)),
	];
	return { ok: checks.every((check) => check.ok), checks, backend: expectedBackend(runtime) };
}

function expectedBackend({ probe }: RuntimeDiagnosis): BackendName {
	if (!probe) return "wasm";
	return probe.gpu ? "native-gpu" : "native-cpu";
}
