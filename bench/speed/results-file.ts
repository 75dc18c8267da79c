/**
 * bench/results/speed.json: one entry per job, written after each, so that an interrupted run keeps what it has and a later run replaces only what it
 * measures again. Results of another machine are not kept beside these.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { dirname } from "node:path";
import type { Measurements } from "./samples.js";

export interface Entry {
	ours: Measurements;
	/** Ours, not compiled. */
	eager?: Measurements;
	peer?: Measurements;
	/** The pipeline's: of how many records the peer's faster calls generated the rollouts. */
	peerRecordsPerCall?: number;
	/** Processes per side. */
	rounds: number;
	/** When it was done, and the commit. */
	at: string;
	commit: string;
	/** Of one minute, before and after: what else the machine did. */
	loadAverage: [number, number];
}

export interface Results {
	machine: { cpu: string; cores: number; memoryGiB: number };
	versions: Record<string, string | number>;
	peerVersions?: Record<string, string | number>;
	/** By `kind/config/dtype`, and `limits`. */
	jobs: Record<string, Entry>;
}

export function readResults(file: string): Results {
	const cpu = os.cpus();
	const machine = { cpu: cpu[0].model.trim(), cores: cpu.length, memoryGiB: Math.round(os.totalmem() / 2 ** 30) };
	const found = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Partial<Results>) : {};
	const known = JSON.stringify(found.machine) === JSON.stringify(machine);
	return { peerVersions: known ? found.peerVersions : undefined, jobs: (known && found.jobs) || {}, machine, versions: ourVersions() };
}

export function writeResults(file: string, results: Results): void {
	mkdirSync(dirname(file), { recursive: true });
	writeFileSync(file, `${JSON.stringify(results, null, "\t")}\n`);
}

export const loadAverage = (): number => Number(os.loadavg()[0].toFixed(2));

export function currentCommit(): string {
	return execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
}

function ourVersions(): Record<string, string> {
	const { version, dependencies } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
	return { "tfjs-rft": version, tfjs: dependencies["@tensorflow/tfjs"], node: process.version };
}
