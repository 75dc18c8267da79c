/**
 * Compiles `native/image_ops.cc` into the cache folder. It needs neither TensorFlow nor a network, so setup does it first, and it serves
 * every backend. Not having it costs speed alone (images are then resized in JavaScript, with the same bits), so a compiler that is missing
 * or fails is reported and setup goes on.
 *
 * `<cache>/image-ops/<key>/image_ops.node`: the key is made of the source, the flags and the platform. The loops are compiled for several
 * processors and chosen when the addon is loaded, so a cache folder serves another machine too.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { compile, findCompiler, NAPI_VERSION, nodeHeaders, ownSource } from "./compile-addon.js";
import { outputTail, runCommand } from "./run-command.js";
import { SetupError } from "./setup-error.js";
import type { OnSetupProgress } from "./setup-progress.js";

const SOURCE = "image_ops.cc";
const FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", `-DNAPI_VERSION=${NAPI_VERSION}`];

/** Where the addon lies inside the cache folder, compiled or not. */
export function imageOpsFile(cache: string): string {
	const hash = createHash("sha256")
		.update(FLAGS.join(" "))
		.update(readFileSync(ownSource(SOURCE)))
		.digest("hex");
	const key = `napi-v${NAPI_VERSION}-${process.platform}-${process.arch}-${hash.slice(0, 16)}`;
	return path.join(cache, "image-ops", key, "image_ops.node");
}

/** Compiles the addon unless it is there. A failure is reported and not thrown. @throws the signal's reason when it was aborted */
export async function stageImageOps(
	cache: string,
	{ env, signal, onProgress }: { env: NodeJS.ProcessEnv; signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<void> {
	const file = imageOpsFile(cache);
	if (existsSync(file)) return;
	onProgress({ step: "compile", detail: "native/image_ops.cc" });
	try {
		await compileImageOps(file, { env, signal });
	} catch (error) {
		if (!(error instanceof SetupError)) throw error;
		const detail = `native/image_ops.cc is not compiled, images will be resized in JavaScript (same results, slower): ${error.message}`;
		onProgress({ step: "compile", detail });
	}
}

/** The addon's folder appears whole or not at all. */
async function compileImageOps(file: string, options: { env: NodeJS.ProcessEnv; signal?: AbortSignal }): Promise<void> {
	const compiler = await findCompiler(options.env, options.signal);
	const folder = path.dirname(file);
	const partial = `${folder}.partial`;
	await rm(partial, { recursive: true, force: true });
	await mkdir(partial, { recursive: true });
	const made = path.join(partial, path.basename(file));
	await compile(compiler, [...FLAGS, "-I", nodeHeaders(), ownSource(SOURCE), "-o", made], options);
	const { code, output } = await runCommand(process.execPath, ["-e", "require(process.argv[1])", made], options);
	if (code !== 0) {
		const problem = `the addon that ${compiler} made does not load`;
		throw new SetupError({ step: "compile", problem, output: outputTail(output), wayOut: "name another compiler in CXX" });
	}
	await rm(folder, { recursive: true, force: true });
	await rename(partial, folder);
}
