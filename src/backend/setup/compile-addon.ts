/**
 * Compiles tfjs-node-gpu's addon, from the sources in its npm package and unmodified, against the staged
 * libtensorflow: `native/graph_functions.cc` goes into it and adds functions, `native/redirect_fd.cc` is a second addon (see there).
 *
 * N-API is stable across Node versions, so one addon serves all of them: its key is made of the sources, the N-API version
 * and the compiler's flags. The run path is relative to the addon, so the cache folder can be moved.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { commandLine, outputTail, runCommand, whyNotStarted } from "./run-command.js";
import { SetupError } from "./setup-error.js";
import type { OnSetupProgress } from "./setup-progress.js";

/** Of every addon of ours. */
export const NAPI_VERSION = 8;
const FLAGS = ["-std=c++17", "-O2", "-fPIC", "-shared", `-DNAPI_VERSION=${NAPI_VERSION}`];
const COMPILERS = ["g++", "c++", "clang++"];
/** Of the addon, beside GRAPH_FUNCTIONS, which includes its third source, tfjs_binding.cc. */
const ADDON_SOURCE = "tfjs_backend.cc";
const GRAPH_FUNCTIONS = "graph_functions.cc";
const REDIRECT_FD = "redirect_fd.cc";
/** Included by it. */
const INCLUDED = ["collectives.h", "read_tensor.h"];
/** Ops of our own, and what they include. */
const ROW_OPS = ["row_ops.cc", "row_ops.h", "few_rows.h", "fused_rows.h", "thread_pool.h"];

/** The files that setup compiles. */
export interface AddonFiles {
	/** tfjs-node-gpu's addon. */
	binding: string;
	/** Our descriptor redirection, free of TensorFlow. */
	redirect: string;
}

/** Where the addon for these kernels lies inside a runtime folder, compiled or not. */
export function addonFolder(runtime: string, kernels: string): string {
	return path.join(runtime, "addons", addonKey(kernels));
}

/** The addon's files inside its folder. */
export function addonFiles(folder: string): AddonFiles {
	return { binding: path.join(folder, "tfjs_binding.node"), redirect: path.join(folder, "redirect_fd.node") };
}

function addonKey(kernels: string): string {
	const hash = createHash("sha256").update(FLAGS.join(" "));
	const sources = path.join(kernels, "binding");
	for (const name of readdirSync(sources).sort()) hash.update(name).update(readFileSync(path.join(sources, name)));
	for (const name of [REDIRECT_FD, GRAPH_FUNCTIONS, ...INCLUDED, ...ROW_OPS]) hash.update(readFileSync(ownSource(name)));
	return `napi-v${NAPI_VERSION}-${process.platform}-${process.arch}-${hash.digest("hex").slice(0, 16)}`;
}

/** A file in `native/` of this package, seen from src/backend/setup as well as from the bundle in dist/. */
export function ownSource(name: string): string {
	for (let folder = path.dirname(fileURLToPath(import.meta.url)); ; folder = path.dirname(folder)) {
		const file = path.join(folder, "native", name);
		if (existsSync(file)) return file;
		if (folder === path.dirname(folder)) throw new Error(`native/${name} is not in the package tfjs-rft; install it again`);
	}
}

/** Include directory of the npm package node-api-headers. */
export function nodeHeaders(): string {
	const { include_dir } = createRequire(import.meta.url)("node-api-headers") as { include_dir: string };
	return include_dir;
}

/**
 * Compiles into `folder`, which appears whole or not at all.
 *
 * @param runtime the staged runtime: has `tensorflow/include` and the libraries
 * @param kernels tfjs-node-gpu's folder
 * @throws SetupError (`compile`)
 */
export async function compileAddon(
	runtime: string,
	kernels: string,
	folder: string,
	{ env, signal, onProgress }: { env: NodeJS.ProcessEnv; signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<void> {
	onProgress({ step: "compile", detail: "tfjs-node-gpu's addon (about 10 s)" });
	const compiler = await findCompiler(env, signal);
	const partial = `${folder}.partial`;
	await rm(partial, { recursive: true, force: true });
	await mkdir(partial, { recursive: true });
	const files = addonFiles(partial);
	const tensorflow = path.join(runtime, "tensorflow");
	const includes = ["-I", path.join(tensorflow, "include"), "-I", nodeHeaders()];
	const binding = path.join(kernels, "binding");
	const sources = ["-I", binding, ownSource(GRAPH_FUNCTIONS), ownSource(ROW_OPS[0]), path.join(binding, ADDON_SOURCE)];
	const libraries = [
		"-L",
		tensorflow,
		"-l:libtensorflow_cc.so.2",
		"-l:libtensorflow_framework.so.2",
		"-Wl,-rpath,$ORIGIN/../../tensorflow",
	];
	await compile(compiler, [...FLAGS, ...includes, ...sources, "-o", files.binding, ...libraries], { env, signal });
	const redirect = ["-DNODE_GYP_MODULE_NAME=redirect_fd", "-I", nodeHeaders(), ownSource(REDIRECT_FD), "-o", files.redirect];
	await compile(compiler, [...FLAGS, ...redirect], { env, signal });
	await rm(folder, { recursive: true, force: true });
	await rename(partial, folder);
}

/** Runs the compiler. @throws SetupError (`compile`) with the command and the end of its output */
export async function compile(
	compiler: string,
	args: readonly string[],
	options: { env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<void> {
	const { code, output } = await runCommand(compiler, args, options);
	if (code === 0) return;
	throw new SetupError({
		step: "compile",
		problem: `${compiler} failed (exit code ${code})`,
		command: commandLine(compiler, args),
		output: outputTail(output),
		wayOut: "a C++17 compiler with its standard library is needed (Debian, Ubuntu: `apt-get install g++`); another one can be named in CXX",
	});
}

/** The compiler that setup would use: `CXX`, else the first of g++, c++, clang++ that answers. */
export async function findCompiler(env: NodeJS.ProcessEnv = process.env, signal?: AbortSignal): Promise<string> {
	const candidates = env.CXX ? [env.CXX] : COMPILERS;
	const tried: string[] = [];
	for (const candidate of candidates) {
		try {
			const { code, output } = await runCommand(candidate, ["--version"], { env, signal });
			if (code === 0) return candidate;
			tried.push(`${candidate}: ${outputTail(output)}`);
		} catch (error) {
			tried.push(`${candidate}: ${whyNotStarted(error)}`);
		}
	}
	throw new SetupError({
		step: "compile",
		problem: "no C++ compiler on PATH",
		output: tried.join("\n"),
		wayOut: "install one (Debian, Ubuntu: `apt-get install g++`), or name it in CXX, and run setup again",
	});
}
