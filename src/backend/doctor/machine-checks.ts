/** Checks of the machine: Node, processor, memory, GPU driver, and the tools that setup calls. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { bfloat16Instructions } from "../bfloat16-instructions.js";
import { findNvidiaDriver } from "../nvidia-driver.js";
import { findCompiler } from "../setup/compile-addon.js";
import { findPip } from "../setup/find-pip.js";
import { outputTail, runCommand } from "../setup/run-command.js";
import { SetupError } from "../setup/setup-error.js";
import type { DoctorCheck } from "./doctor-check.js";

const MIN_NODE = 20;
/** A 3B judge in bfloat16 takes 7 GB; the bundled judge runs in less than 1. */
const MIN_MEMORY_GB = 2;

/** Node's version against the package's `engines`. */
export function checkNode(version = process.versions.node): DoctorCheck {
	const ok = Number(version.split(".")[0]) >= MIN_NODE;
	const found = `${version} on ${process.platform}-${process.arch}`;
	return ok ? { name: "Node", ok, found } : { name: "Node", ok, found, fix: `install Node ${MIN_NODE} or newer` };
}

/** Cores that this process may use, and the processor's name. */
export function checkCores(): DoctorCheck {
	return { name: "cores", ok: true, found: `${availableParallelism()} (${cpus()[0]?.model.trim() ?? "unknown processor"})` };
}

/** Total and free memory. */
export function checkMemory(): DoctorCheck {
	const gigabytes = (bytes: number) => bytes / 2 ** 30;
	const total = gigabytes(totalmem());
	const found = `${total.toFixed(1)} GiB, ${gigabytes(availableMemory()).toFixed(1)} GiB available`;
	if (total >= MIN_MEMORY_GB) return { name: "memory", ok: true, found };
	return { name: "memory", ok: false, found, fix: `give the machine at least ${MIN_MEMORY_GB} GiB` };
}

/** `MemAvailable` counts what the page cache would give back; `os.freemem()` does on Node ≥ 22 only. */
function availableMemory(): number {
	if (process.platform !== "linux") return freemem();
	const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
	return kilobytes ? Number(kilobytes) * 1024 : freemem();
}

/** bfloat16 instructions of the processor. Without them bfloat16 saves memory but no time. */
export function checkBfloat16Instructions(cpuinfo?: string): DoctorCheck {
	const name = "bf16 instructions";
	const flags = bfloat16Instructions(cpuinfo);
	if (flags.length > 0) return { name, ok: true, found: `${flags.join(", ")}: --dtype auto computes checkpoints in bfloat16 natively` };
	return { name, ok: true, found: "none: --dtype auto stays in float32; bfloat16 on this processor saves memory, not time" };
}

/** The NVIDIA driver and its GPUs. None is an ordinary answer; a driver that does not answer is not. */
export async function checkGpu(env: NodeJS.ProcessEnv): Promise<DoctorCheck> {
	const driver = findNvidiaDriver(env);
	if (!driver) return { name: "NVIDIA GPU", ok: true, found: "none" };
	const fix = "see that `nvidia-smi` lists the GPU (driver installed, container started with its GPUs)";
	try {
		const args = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
		const { code, stdout, output } = await runCommand("nvidia-smi", args, { env });
		if (code === 0 && stdout.trim()) return { name: "NVIDIA GPU", ok: true, found: stdout.trim().replaceAll("\n", "; ") };
		return { name: "NVIDIA GPU", ok: false, found: `${driver}, but nvidia-smi says: ${outputTail(output)}`, fix };
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
		return { name: "NVIDIA GPU", ok: true, found: `driver (${driver}), no nvidia-smi to ask for its GPUs` };
	}
}

/** pip and a C++ compiler: needed by setup, and so only missed while the runtime is not staged. */
export async function checkSetupTools(env: NodeJS.ProcessEnv, staged: boolean): Promise<DoctorCheck[]> {
	const pip = await findPip({ env });
	const pipCheck =
		"pip" in pip
			? { name: "pip", ok: true, found: pip.pip.version }
			: missingTool("pip", pip.tried.join("; "), "apt-get install python3 python3-pip", staged);
	return [pipCheck, await checkCompiler(env, staged)];
}

async function checkCompiler(env: NodeJS.ProcessEnv, staged: boolean): Promise<DoctorCheck> {
	try {
		const compiler = await findCompiler(env);
		const { stdout } = await runCommand(compiler, ["--version"], { env });
		return { name: "C++ compiler", ok: true, found: stdout.split("\n")[0] };
	} catch (error) {
		if (!(error instanceof SetupError)) throw error;
		return missingTool("C++ compiler", (error.output ?? "").replaceAll("\n", "; "), "apt-get install g++", staged);
	}
}

function missingTool(name: string, tried: string, fix: string, staged: boolean): DoctorCheck {
	if (staged) return { name, ok: true, found: `none (${tried}); only setup needs it` };
	return { name, ok: false, found: `none (${tried})`, fix };
}
