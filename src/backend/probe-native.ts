/**
 * Tries a compiled addon in a child process: a wrong binary ends the process that loads it.
 *
 * The child loads the addon alone (no tfjs), multiplies two matrices in float32 and in bfloat16, and prints what it found.
 * A good answer is kept beside the addon, under everything that could change it: the two libraries' and the addon's own
 * time and size, Node's version, the processor, the NVIDIA driver and the visible devices. A failure is never kept.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { z } from "zod";
import type { AddonFiles } from "./setup/compile-addon.js";
import { commandLine, outputTail, runCommand } from "./setup/run-command.js";

/** What the probe measured. */
const probeSchema = z.object({
	tensorflowVersion: z.string(),
	gpu: z.boolean(),
	/** `true`, or why a bfloat16 product failed. */
	bfloat16: z.union([z.literal(true), z.string()]),
});
export type NativeProbe = z.infer<typeof probeSchema>;
export type ProbeResult = { ok: true; probe: NativeProbe } | { ok: false; problem: string; command: string; output: string };

const CHILD = `
try {
	const binding = require(process.argv[1]);
	const type = (T) => ({ name: "T", type: binding.TF_ATTR_TYPE, value: T });
	const flag = (name) => ({ name, type: binding.TF_ATTR_BOOL, value: false });
	const matMul = (id, T) => binding.executeOp("MatMul", [flag("transpose_a"), flag("transpose_b"), type(T)], [id, id], 1)[0].id;
	const cast = (id, from, to) => binding.executeOp("Cast", [
		{ name: "SrcT", type: binding.TF_ATTR_TYPE, value: from }, { name: "DstT", type: binding.TF_ATTR_TYPE, value: to }, flag("Truncate"),
	], [id], 1)[0].id;
	const check = (id) => {
		const got = [...binding.tensorDataSync(id)].join();
		if (got !== "7,10,15,22") throw new Error("MatMul of [[1,2],[3,4]] with itself gave " + got);
	};
	const x = binding.createTensor([2, 2], binding.TF_FLOAT, new Float32Array([1, 2, 3, 4]));
	check(matMul(x, binding.TF_FLOAT));
	const BFLOAT16 = 14;
	let bfloat16 = true;
	try { check(cast(matMul(cast(x, 1, BFLOAT16), BFLOAT16), BFLOAT16, 1)); } catch (error) { bfloat16 = error.message; }
	process.stdout.write("\\nPROBE " + JSON.stringify({ tensorflowVersion: binding.TF_Version, gpu: binding.isUsingGpuDevice(), bfloat16 }));
} catch (error) {
	process.stderr.write("\\n" + error.message);
	process.exitCode = 1;
}
`;

/**
 * Probes the addon; `ok: false` says why it cannot be used. Costs half a second the first time, a millisecond after that.
 *
 * @param runtime the runtime folder that the addon links to
 */
export async function probeNative(files: AddonFiles, runtime: string, env: NodeJS.ProcessEnv = process.env): Promise<ProbeResult> {
	const key = fingerprint(files, runtime, env);
	const cacheFile = path.join(path.dirname(files.binding), "probe.json");
	const known = readCached(cacheFile, key);
	if (known) return { ok: true, probe: known };
	const args = ["--input-type=commonjs", "-e", CHILD, files.binding];
	const { code, stdout, output } = await runCommand(process.execPath, args, { env: { ...env, NODE_OPTIONS: "" } });
	const report = /PROBE (.*)$/m.exec(stdout)?.[1];
	if (code !== 0 || report === undefined) {
		const how = code === null ? "was killed by a signal" : `ended with exit code ${code}`;
		const command = commandLine("node", ["-e", `require("${files.binding}")`]);
		return { ok: false, problem: `the process that loads ${files.binding} ${how}`, command, output: outputTail(output) };
	}
	const probe = probeSchema.parse(JSON.parse(report));
	writeCached(cacheFile, key, probe);
	return { ok: true, probe };
}

function fingerprint(files: AddonFiles, runtime: string, env: NodeJS.ProcessEnv): string {
	const hash = createHash("sha256");
	const libraries = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"].map((name) => path.join(runtime, "tensorflow", name));
	for (const file of [files.binding, ...libraries]) {
		const { mtimeMs, size } = statSync(file, { throwIfNoEntry: false }) ?? { mtimeMs: 0, size: 0 };
		hash.update(`${file} ${mtimeMs} ${size}\n`);
	}
	const driver = "/proc/driver/nvidia/version";
	hash.update(existsSync(driver) ? readFileSync(driver) : "no driver");
	hash.update([process.version, cpus()[0]?.model, env.CUDA_VISIBLE_DEVICES, env.LD_LIBRARY_PATH, env.LD_PRELOAD].join("\n"));
	return hash.digest("hex");
}

const cacheSchema = z.object({ key: z.string(), probe: probeSchema });

function readCached(file: string, key: string): NativeProbe | undefined {
	if (!existsSync(file)) return undefined;
	const cached = cacheSchema.safeParse(JSON.parse(readFileSync(file, "utf8")));
	return cached.success && cached.data.key === key ? cached.data.probe : undefined;
}

function writeCached(file: string, key: string, probe: NativeProbe): void {
	const temporary = `${file}.${process.pid}`;
	try {
		writeFileSync(temporary, JSON.stringify({ key, probe }));
		renameSync(temporary, file);
	} catch (error) {
		// A cache folder that belongs to someone else: every process then pays for its own probe.
		if (!["EACCES", "EROFS", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
	}
}
