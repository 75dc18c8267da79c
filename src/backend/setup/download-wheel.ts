/**
 * Fetches the TensorFlow wheel with pip, which knows the user's package index, proxy and credentials.
 *
 * pip checks the file against the SHA-256 of tensorflow-release.ts (`--require-hashes`). It prints no progress when
 * it writes to a pipe, so the growth of its temporary folder is measured. That folder is beside the target, so that pip's
 * last move is a rename and a wheel that is there is a whole one.
 */
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { findPip, type Pip } from "./find-pip.js";
import { commandLine, outputTail, runCommand } from "./run-command.js";
import { SetupError } from "./setup-error.js";
import type { OnSetupProgress } from "./setup-progress.js";
import { PYTHON_TAG, TENSORFLOW_VERSION, type TensorflowWheel } from "./tensorflow-release.js";

const POLL_MS = 250;

/** pip, or a SetupError (`python`) that lists what was tried. */
export async function requirePip(wheelName: string, options: { env: NodeJS.ProcessEnv; signal?: AbortSignal }): Promise<Pip> {
	const found = await findPip(options);
	if ("pip" in found) return found.pip;
	throw new SetupError({
		step: "python",
		problem: "no Python 3 with pip on PATH",
		output: found.tried.join("\n"),
		wayOut:
			"install it (Debian, Ubuntu: `apt-get install python3 python3-pip`), name the interpreter in TFJS_RFT_PYTHON, " +
			`or pass the wheel itself: \`npx tfjs-rft setup --wheel ${wheelName}\``,
	});
}

/** Arguments that make pip take wheels for these platforms, whatever its own Python is. */
export function pipWheelArgs(platforms: readonly string[]): string[] {
	return [
		"--no-deps",
		"--only-binary=:all:",
		"--python-version",
		PYTHON_TAG,
		...platforms.flatMap((platform) => ["--platform", platform]),
		"--no-cache-dir",
		"--disable-pip-version-check",
		"--no-input",
		"--progress-bar",
		"off",
	];
}

/**
 * Downloads the wheel into `folder`, unless it is there already.
 *
 * @returns the path of the wheel
 * @throws SetupError (`python`, `download`)
 */
export async function downloadWheel(
	wheel: TensorflowWheel,
	folder: string,
	{ env, signal, onProgress }: { env: NodeJS.ProcessEnv; signal?: AbortSignal; onProgress: OnSetupProgress },
): Promise<string> {
	const present = await findWheel(folder);
	if (present) return present;
	const pip = await requirePip(`${wheel.packageName.replace("-", "_")}-${TENSORFLOW_VERSION}-….whl`, { env, signal });
	const temporary = path.join(folder, "pip-temporary");
	await rm(temporary, { recursive: true, force: true });
	await mkdir(temporary, { recursive: true });
	const requirements = path.join(folder, "requirements.txt");
	await writeFile(requirements, `${wheel.packageName}==${TENSORFLOW_VERSION} --hash=sha256:${wheel.sha256}\n`);
	const args = [...pip.args, "download", "--dest", folder, "--require-hashes", "-r", requirements, ...pipWheelArgs(wheel.platforms)];
	await runPip(pip.program, args, { env, signal, onProgress, temporary, wheel });
	await rm(temporary, { recursive: true, force: true });
	const path_ = await findWheel(folder);
	if (path_) return path_;
	throw new SetupError({
		step: "download",
		problem: `pip ended without an error but left no wheel in ${folder}`,
		command: commandLine(pip.program, args),
		wayOut: "run the command by hand to see what it does",
	});
}

async function runPip(
	program: string,
	args: readonly string[],
	options: {
		env: NodeJS.ProcessEnv;
		signal?: AbortSignal;
		onProgress: OnSetupProgress;
		temporary: string;
		wheel: TensorflowWheel;
	},
): Promise<void> {
	const { env, signal, onProgress, temporary, wheel } = options;
	const detail = `${wheel.packageName} ${TENSORFLOW_VERSION}`;
	const report = (doneBytes: number) => onProgress({ step: "download", detail, doneBytes, totalBytes: wheel.bytes });
	report(0);
	const timer = setInterval(() => {
		// The folder changes under the measurement; a file that went away counts nothing.
		largestFile(temporary).then((bytes) => report(Math.min(bytes, wheel.bytes)), ignoreVanished);
	}, POLL_MS);
	try {
		const { code, output } = await runCommand(program, args, { env: { ...env, TMPDIR: temporary }, signal });
		if (code === 0) return report(wheel.bytes);
		throw new SetupError({
			step: "download",
			problem: `pip could not download ${detail} (exit code ${code})`,
			command: commandLine(program, args),
			output: outputTail(output),
			wayOut: `check the network and pip's package index (\`pip config list\`) and run setup again, or get the wheel elsewhere and pass it: \`npx tfjs-rft setup --wheel FILE\``,
		});
	} finally {
		clearInterval(timer);
	}
}

function ignoreVanished(error: NodeJS.ErrnoException): void {
	if (error.code !== "ENOENT") throw error;
}

async function largestFile(folder: string): Promise<number> {
	let largest = 0;
	// Names, not entries: an entry knows its folder from Node 20.12 on only.
	for (const name of await readdir(folder, { recursive: true })) {
		const info = await stat(path.join(folder, name));
		if (info.isFile()) largest = Math.max(largest, info.size);
	}
	return largest;
}

async function findWheel(folder: string): Promise<string | undefined> {
	await mkdir(folder, { recursive: true });
	const name = (await readdir(folder)).find((file) => file.endsWith(".whl"));
	return name && path.join(folder, name);
}
