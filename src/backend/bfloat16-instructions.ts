/**
 * Whether this processor multiplies in bfloat16 itself. Without such instructions products in bfloat16 are right, and slower than in float32.
 */
import { readFileSync } from "node:fs";

/** As Linux names them; `bf16` is ARM's. */
const FLAGS = ["avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"];

/** @returns the processor's bfloat16 instruction sets, as /proc/cpuinfo names them; none elsewhere than on Linux, where nobody can tell */
export function bfloat16Instructions(cpuinfo = readCpuinfo()): string[] {
	return FLAGS.filter((flag) => new RegExp(`\\b${flag}\\b`).test(cpuinfo));
}

function readCpuinfo(): string {
	return process.platform === "linux" ? readFileSync("/proc/cpuinfo", "utf8").slice(0, 8192) : "";
}
