/**
 * Provisions the native backend: libtensorflow out of the TensorFlow wheel, tfjs-node-gpu's addon compiled against it.
 *
 * No install script does this (npm blocks them more and more, and a failed one leaves an optional package out in
 * silence): it is a command, and running it again costs nothing. Every part is made under a temporary name and
 * renamed into place, so an interrupted setup goes on where it was; a lock keeps two processes from doing it at once.
 * The measurements behind it are in docs/decisions/native-runtime.md.
 */
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import lockfile from "proper-lockfile";
import { findNvidiaDriver } from "./nvidia-driver.js";
import { type NativeProbe, probeNative } from "./probe-native.js";
import { cacheFolder, runtimeFolder } from "./setup/cache-folder.js";
import { addonFiles, addonFolder, compileAddon } from "./setup/compile-addon.js";
import { imageOpsFile, stageImageOps } from "./setup/compile-image-ops.js";
import { downloadWheel } from "./setup/download-wheel.js";
import { extractWheel } from "./setup/extract-wheel.js";
import { installNvidia } from "./setup/install-nvidia.js";
import { ensureNodeKernels } from "./setup/node-kernels.js";
import { SetupError } from "./setup/setup-error.js";
import type { OnSetupProgress } from "./setup/setup-progress.js";
import { findStagedRuntime, readManifest, type StagedRuntime, writeManifest } from "./setup/staged-runtime.js";
import { type RuntimeFlavour, TENSORFLOW_VERSION, tensorflowWheel } from "./setup/tensorflow-release.js";

const LOCK_STALE_MS = 30_000;
const LOCK_RETRY_MS = 500;
const LOCK_WAIT_MS = 30 * 60_000;

export interface SetupOptions {
	/** `auto` (default): `cuda` where an NVIDIA driver is found, else `cpu`. */
	device?: "auto" | RuntimeFlavour;
	/** A TensorFlow wheel on this machine, used instead of a download; it is left where it is. */
	wheel?: string;
	/** Default: nothing is reported. */
	onProgress?: OnSetupProgress;
	/** Stops setup; what is finished stays for the next run. */
	signal?: AbortSignal;
	/** Environment for the cache folder and the commands. Default `process.env`. */
	env?: NodeJS.ProcessEnv;
}

export interface SetupResult {
	flavour: RuntimeFlavour;
	/** Why this flavour. */
	reason: string;
	/** The runtime folder inside the cache. */
	folder: string;
	/** The compiled addon. */
	addon: string;
	/** What the addon said in a child process. */
	probe: NativeProbe;
	/** True when everything was there already. */
	alreadyStaged: boolean;
}

/** Options with the defaults filled in, as the steps take them. */
interface StepOptions {
	env: NodeJS.ProcessEnv;
	signal?: AbortSignal;
	onProgress: OnSetupProgress;
}

/**
 * Stages the native runtime, or finds that it is staged.
 *
 * @throws SetupError with the step, the command and the way out; the signal's reason when it was aborted
 */
export async function setup({
	device = "auto",
	wheel,
	onProgress = () => {},
	signal,
	env = process.env,
}: SetupOptions = {}): Promise<SetupResult> {
	signal?.throwIfAborted();
	const { flavour, reason } = chooseFlavour(device);
	const steps: StepOptions = { env, signal, onProgress };
	const staged = findStagedRuntime(flavour, env);
	if (wheel) refuseOtherWheel(runtimeFolder(cacheFolder(env), flavour), wheel);
	const cache = cacheFolder(env);
	if (!("missing" in staged) && existsSync(imageOpsFile(cache))) {
		return { ...(await probeStaged(staged, steps)), reason, alreadyStaged: true };
	}
	await mkdir(cache, { recursive: true }).catch((cause) => {
		throw cacheUnusable(cache, cause);
	});
	// proper-lockfile tells of a lock that another process took over (this one slept too long) only by a callback.
	const lost = new AbortController();
	const release = await lockCache(cache, steps, (error) => lost.abort(lockLost(cache, error)));
	const stop = signal ? AbortSignal.any([signal, lost.signal]) : lost.signal;
	try {
		return { ...(await stage(cache, flavour, wheel, { ...steps, signal: stop })), reason, alreadyStaged: false };
	} catch (error) {
		// Streams and child processes each have their own abort error; the caller's reason is the one to hand back.
		throw stop.aborted ? stop.reason : error;
	} finally {
		if (!lost.signal.aborted) await release();
	}
}

function chooseFlavour(device: "auto" | RuntimeFlavour): { flavour: RuntimeFlavour; reason: string } {
	if (device !== "auto") return { flavour: device, reason: "asked for" };
	const driver = findNvidiaDriver();
	return driver ? { flavour: "cuda", reason: `NVIDIA driver found (${driver})` } : { flavour: "cpu", reason: "no NVIDIA driver found" };
}

/** A runtime that is staged from another file is not silently taken for the wheel that was asked for. */
function refuseOtherWheel(folder: string, wheel: string): void {
	const staged = readManifest(folder)?.wheel;
	if (staged === undefined || staged === path.basename(wheel)) return;
	throw new SetupError({
		step: "extract",
		problem: `expected to stage ${wheel}, but ${folder} is staged from ${staged}`,
		wayOut: `remove ${folder} and run setup again, or leave --wheel out`,
	});
}

/** One step after the other; each finds out itself whether it is done. */
async function stage(
	cache: string,
	flavour: RuntimeFlavour,
	wheel: string | undefined,
	steps: StepOptions,
): Promise<Omit<SetupResult, "reason" | "alreadyStaged">> {
	await stageImageOps(cache, steps);
	const folder = runtimeFolder(cache, flavour);
	if (!readManifest(folder)) await stageLibraries(cache, folder, flavour, wheel, steps);
	const kernels = await ensureNodeKernels(cache, steps);
	const addon = addonFolder(folder, kernels);
	if (!existsSync(addonFiles(addon).binding)) await compileAddon(folder, kernels, addon, steps);
	return probeStaged({ flavour, folder, kernels, addon: addonFiles(addon) }, steps);
}

async function stageLibraries(
	cache: string,
	folder: string,
	flavour: RuntimeFlavour,
	givenWheel: string | undefined,
	steps: StepOptions,
): Promise<void> {
	const release = tensorflowWheel(flavour);
	const downloads = path.join(cache, "downloads", flavour);
	if (givenWheel && !existsSync(givenWheel)) {
		throw new SetupError({
			step: "extract",
			problem: `no such file: ${givenWheel}`,
			wayOut: "give --wheel the path of a TensorFlow wheel",
		});
	}
	const wheel = givenWheel ?? (await downloadWheel(release, downloads, steps));
	const partial = `${folder}.partial`;
	await rm(partial, { recursive: true, force: true });
	await extractWheel(wheel, partial, steps);
	if (flavour === "cuda") await installNvidia(partial, downloads, release, steps);
	const manifest = { flavour, tensorflowVersion: TENSORFLOW_VERSION, wheel: path.basename(wheel), stagedAt: new Date().toISOString() };
	await writeManifest(partial, manifest);
	await rm(folder, { recursive: true, force: true });
	await rename(partial, folder);
	await rm(downloads, { recursive: true, force: true });
}

async function probeStaged(
	staged: StagedRuntime,
	{ env, onProgress }: StepOptions,
): Promise<Omit<SetupResult, "reason" | "alreadyStaged">> {
	onProgress({ step: "probe", detail: "loading the addon in a child process" });
	const result = await probeNative(staged.addon, staged.folder, env);
	if (!result.ok) {
		throw new SetupError({
			step: "probe",
			problem: result.problem,
			command: result.command,
			output: result.output,
			wayOut: `remove ${staged.folder} and run setup again; where that does not help, \`--backend wasm\` runs everywhere, slower`,
		});
	}
	return { flavour: staged.flavour, folder: staged.folder, addon: staged.addon.binding, probe: result.probe };
}

/** Waits for its turn; a lock whose owner died is taken over after half a minute. */
async function lockCache(
	cache: string,
	{ signal, onProgress }: StepOptions,
	onCompromised: (error: Error) => void,
): Promise<() => Promise<void>> {
	const options = { lockfilePath: path.join(cache, "setup.lock"), stale: LOCK_STALE_MS, realpath: false, onCompromised };
	const deadline = Date.now() + LOCK_WAIT_MS;
	for (;;) {
		try {
			return await lockfile.lock(cache, options);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "ELOCKED") throw cacheUnusable(cache, error);
			if (Date.now() > deadline) throw lockTimeout(cache, error);
		}
		signal?.throwIfAborted();
		onProgress({ step: "lock", detail: "another process is running setup; waiting for it" });
		await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS));
	}
}

function cacheUnusable(cache: string, cause: unknown): SetupError {
	const problem = `the cache folder ${cache} can't be written in: ${(cause as Error).message}`;
	return new SetupError({ step: "lock", problem, wayOut: "name another folder in TFJS_RFT_CACHE, or make this one writable", cause });
}

function lockLost(cache: string, cause: Error): SetupError {
	const problem = `the lock of ${cache} was taken over while this process was suspended`;
	return new SetupError({ step: "lock", problem, wayOut: "run setup again; what was finished is kept", cause });
}

function lockTimeout(cache: string, cause: unknown): SetupError {
	return new SetupError({
		step: "lock",
		problem: `another process has been running setup in ${cache} for ${LOCK_WAIT_MS / 60_000} minutes`,
		wayOut: `end that process, or remove ${path.join(cache, "setup.lock")} if there is none`,
		cause,
	});
}
