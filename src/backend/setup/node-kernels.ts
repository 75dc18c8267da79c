/**
 * Where tfjs-node-gpu is: its addon sources and its JavaScript kernels.
 *
 * It is an optional peer whose install script fails where its download host is not reached, and npm then
 * leaves it out without a word. So setup installs it itself, scripts off, into the cache folder. Its own copy of
 * tfjs-core there is harmless: the engine and the kernel registry are process-wide, if the versions match.
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { kernelsFolder } from "./cache-folder.js";
import { commandLine, outputTail, runCommand } from "./run-command.js";
import { SetupError } from "./setup-error.js";
import type { OnSetupProgress } from "./setup-progress.js";
import { TFJS_NODE_VERSION } from "./tensorflow-release.js";

const PACKAGE = "@tensorflow/tfjs-node-gpu";

/** The folder of a usable tfjs-node-gpu: the project's own, else the cached one, else undefined. */
export function findNodeKernels(cache: string): string | undefined {
	const cached = path.join(kernelsFolder(cache), "node_modules", PACKAGE);
	return [projectFolder(), cached].find((folder) => folder && versionAt(folder) === TFJS_NODE_VERSION);
}

function projectFolder(): string | undefined {
	for (const from of [import.meta.url, path.join(process.cwd(), "package.json")]) {
		for (const folder of createRequire(from).resolve.paths(PACKAGE) ?? []) {
			if (existsSync(path.join(folder, PACKAGE, "package.json"))) return path.join(folder, PACKAGE);
		}
	}
	return undefined;
}

function versionAt(folder: string): string | undefined {
	const file = path.join(folder, "package.json");
	if (!existsSync(file)) return undefined;
	return (JSON.parse(readFileSync(file, "utf8")) as { version?: string }).version;
}

/**
 * The folder of tfjs-node-gpu, installed into the cache where the project has none of the right version.
 *
 * @throws SetupError (`kernels`)
 */
export async function ensureNodeKernels(
	cache: string,
	{ env, signal, onProgress }: { env: NodeJS.ProcessEnv; signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<string> {
	const found = findNodeKernels(cache);
	if (found) return found;
	onProgress({ step: "kernels", detail: `${PACKAGE} ${TFJS_NODE_VERSION}` });
	const folder = kernelsFolder(cache);
	const temporary = `${folder}.partial`;
	await rm(temporary, { recursive: true, force: true });
	await mkdir(temporary, { recursive: true });
	const args = ["install", "--prefix", temporary, "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--omit=dev"];
	args.push(`${PACKAGE}@${TFJS_NODE_VERSION}`);
	const fail = (problem: string, output?: string, cause?: unknown) =>
		new SetupError({
			step: "kernels",
			problem,
			command: commandLine("npm", args),
			output,
			cause,
			wayOut: `install it in your project: \`npm install --ignore-scripts ${PACKAGE}@${TFJS_NODE_VERSION}\`, then run setup again`,
		});
	try {
		const { code, output } = await runCommand("npm", args, { env, cwd: temporary, signal });
		if (code !== 0) throw fail(`npm could not install ${PACKAGE} (exit code ${code})`, outputTail(output));
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") throw fail("npm is not on PATH", undefined, error);
		throw error;
	}
	await rm(folder, { recursive: true, force: true });
	await rename(temporary, folder);
	const installed = findNodeKernels(cache);
	if (!installed) throw fail(`npm ended without an error but ${PACKAGE} ${TFJS_NODE_VERSION} is not in ${folder}`);
	return installed;
}
