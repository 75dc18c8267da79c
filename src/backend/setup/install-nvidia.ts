/**
 * NVIDIA's libraries for the CUDA flavour: what the wheel's METADATA lists under its `and-cuda` extra, and no
 * other dependency (the Python packages are of no use here).
 *
 * libtensorflow_cc's RUNPATH looks in `../nvidia/<lib>/lib` beside it, which is where `pip install --target` puts them.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { pipWheelArgs, requirePip } from "./download-wheel.js";
import { commandLine, outputTail, runCommand } from "./run-command.js";
import { SetupError } from "./setup-error.js";
import type { OnSetupProgress } from "./setup-progress.js";
import type { TensorflowWheel } from "./tensorflow-release.js";

/** The requirements of an extra, as `METADATA` spells them, without the marker. */
export function extraRequirements(metadata: string, extra: string): string[] {
	const marker = `extra == "${extra}"`;
	return metadata
		.split("\n")
		.map((line) => /^Requires-Dist: ([^;]+);(.*)$/.exec(line.trim()))
		.flatMap((match) => (match?.[2].includes(marker) ? [match[1].trim()] : []));
}

/**
 * Installs the libraries into `folder/nvidia`, beside `folder/tensorflow`. Each package is finished in `downloads` first, so
 * that an interrupted setup does not fetch 3 GB twice.
 *
 * @throws SetupError (`python`, `nvidia`)
 */
export async function installNvidia(folder: string, downloads: string, wheel: TensorflowWheel, steps: NvidiaSteps): Promise<void> {
	const info = (await readdir(folder)).find((name) => name.endsWith(".dist-info"));
	const metadata = info ? await readFile(path.join(folder, info, "METADATA"), "utf8") : "";
	const requirements = extraRequirements(metadata, "and-cuda");
	if (requirements.length === 0) {
		throw new SetupError({
			step: "nvidia",
			problem: "the wheel lists no NVIDIA libraries (no and-cuda extra in its METADATA)",
			wayOut: "use the `tensorflow` wheel for --device cuda, or run setup with --device cpu",
		});
	}
	const packages: string[] = [];
	for (const [i, requirement] of requirements.entries()) {
		const name = packageName(requirement);
		steps.onProgress({ step: "nvidia", detail: `${name}, ${i + 1} of ${requirements.length} (about 3 GB in all)` });
		packages.push(await installPackage(requirement, path.join(downloads, name), wheel, steps));
	}
	await mkdir(path.join(folder, "nvidia"), { recursive: true });
	for (const source of packages) await moveLibraries(path.join(source, "nvidia"), path.join(folder, "nvidia"));
}

/** One package in a folder of its own, which appears whole. */
async function installPackage(requirement: string, folder: string, wheel: TensorflowWheel, { env, signal }: NvidiaSteps): Promise<string> {
	if (existsSync(folder)) return folder;
	const partial = `${folder}.partial`;
	await rm(partial, { recursive: true, force: true });
	const pip = await requirePip("tensorflow-….whl", { env, signal });
	const args = [...pip.args, "install", "--target", partial, ...pipWheelArgs(wheel.platforms), requirement];
	const { code, output } = await runCommand(pip.program, args, { env, signal });
	if (code !== 0) {
		throw new SetupError({
			step: "nvidia",
			problem: `pip could not install ${packageName(requirement)} (exit code ${code})`,
			command: commandLine(pip.program, args),
			output: outputTail(output),
			wayOut: "check the network and the disk's free space and run setup again, or run it with --device cpu",
		});
	}
	await rename(partial, folder);
	return folder;
}

/** `nvidia/<lib>` of one package into the common folder; the Python files beside them stay behind. */
async function moveLibraries(source: string, target: string): Promise<void> {
	for (const entry of await readdir(source, { withFileTypes: true })) {
		if (entry.isDirectory() && entry.name !== "__pycache__") await rename(path.join(source, entry.name), path.join(target, entry.name));
	}
}

function packageName(requirement: string): string {
	return /^[\w.-]+/.exec(requirement)?.[0] ?? requirement;
}

interface NvidiaSteps {
	env: NodeJS.ProcessEnv;
	signal?: AbortSignal;
	onProgress: OnSetupProgress;
}
