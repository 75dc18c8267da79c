/**
 * NVIDIA's libraries for the CUDA flavour: what the wheel's METADATA lists under its `and-cuda` extra, and no
 * other dependency (the Python packages are of no use here).
 *
 * libtensorflow_cc's RUNPATH looks in `../nvidia/<lib>/lib` beside it, which is where `pip install --target` puts them.
 */
import { access, readdir, readFile } from "node:fs/promises";
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
 * Installs the libraries into `folder`, beside `folder/tensorflow`.
 *
 * @throws SetupError (`python`, `nvidia`)
 */
export async function installNvidia(
	folder: string,
	wheel: TensorflowWheel,
	{ env, signal, onProgress }: { env: NodeJS.ProcessEnv; signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<void> {
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
	onProgress({ step: "nvidia", detail: `${requirements.length} NVIDIA packages (about 3 GB)` });
	const pip = await requirePip("tensorflow-….whl", { env, signal });
	const args = [...pip.args, "install", "--target", folder, "--upgrade", ...pipWheelArgs(wheel.platform), ...requirements];
	const { code, output } = await runCommand(pip.program, args, { env, signal });
	if (code !== 0) {
		throw new SetupError({
			step: "nvidia",
			problem: `pip could not install NVIDIA's libraries (exit code ${code})`,
			command: commandLine(pip.program, args),
			output: outputTail(output),
			wayOut: "check the network and the disk's free space and run setup again, or run it with --device cpu",
		});
	}
	await access(path.join(folder, "nvidia"));
}
