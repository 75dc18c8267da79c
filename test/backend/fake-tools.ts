/**
 * A small world for setup: an empty cache folder, a PATH that holds only what a test puts there, and wheels made to order.
 * The tools are real programs (scripts run by this Node), so setup's own process handling is what is tested.
 */
import { createHash } from "node:crypto";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import yazl from "yazl";
import { runtimeFolder } from "../../src/backend/setup/cache-folder.js";
import { addonFolder } from "../../src/backend/setup/compile-addon.js";
import { findNodeKernels } from "../../src/backend/setup/node-kernels.js";
import type { StagedRuntime } from "../../src/backend/setup/staged-runtime.js";
import { TENSORFLOW_VERSION } from "../../src/backend/setup/tensorflow-release.js";

export interface FakeWorld extends Disposable {
	folder: string;
	cache: string;
	/** PATH and cache folder for setup. */
	env: NodeJS.ProcessEnv;
	/** Puts a program on PATH; `body` is CommonJS, `args` its arguments. */
	addTool(name: string, body: string): void;
	/** The calls of all tools so far, one line each. */
	calls(): string[];
}

/** A temporary folder with an empty cache and an empty PATH; removed when disposed. */
export function fakeWorld(): FakeWorld {
	const folder = mkdtempSync(path.join(tmpdir(), "tfjs-rft-setup-"));
	const [bin, cache, log] = ["bin", "cache", "calls.log"].map((name) => path.join(folder, name));
	mkdirSync(bin);
	return {
		folder,
		cache,
		env: { PATH: bin, TFJS_RFT_CACHE: cache },
		addTool(name, body) {
			const record = `require("fs").appendFileSync(${JSON.stringify(log)}, [${JSON.stringify(name)}, ...args].join(" ") + "\\n");`;
			const script = `#!${process.execPath}\nconst args = process.argv.slice(2);\n${record}\n${body}\n`;
			writeFileSync(path.join(bin, name), script, { mode: 0o755 });
		},
		calls: () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []),
		[Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
	};
}

/** A `python3` whose pip answers, and downloads by copying `wheel`; without one it fails as pip does without a network. */
export function fakePip(wheel?: string): string {
	const download = wheel
		? `fs.copyFileSync(${JSON.stringify(wheel)}, path.join(args[args.indexOf("--dest") + 1], path.basename(${JSON.stringify(wheel)})));`
		: `console.error("ERROR: Could not find a version that satisfies the requirement"); process.exit(1);`;
	return `
		const fs = require("fs"), path = require("path");
		if (args.includes("--version")) console.log("pip 99.0 from nowhere (python 3.99)");
		else { ${download} }`;
}

/** A `g++` that fails as the real one does. */
export const BROKEN_COMPILER = `
	if (args.includes("--version")) console.log("g++ (Fake) 99.0");
	else { console.error("tfjs_backend.cc:1:10: fatal error: napi.h: No such file"); process.exit(1); }`;

/** A `g++` that takes a while and writes what one of the folders holds under the name of its output. */
export function copyingCompiler(...folders: string[]): string {
	return `
		const fs = require("fs"), path = require("path");
		const output = args[args.indexOf("-o") + 1];
		if (args.includes("--version")) console.log("g++ (Fake) 99.0");
		else setTimeout(() => {
			const found = ${JSON.stringify(folders)}.map((folder) => path.join(folder, path.basename(output))).find((file) => fs.existsSync(file));
			fs.copyFileSync(found, output);
		}, 300);`;
}

/** Writes a wheel with the given files; RECORD is right unless `record` says otherwise. */
export async function writeWheel(
	file: string,
	{ files = wheelFiles(), record }: { files?: Record<string, string>; record?: string } = {},
): Promise<string> {
	const zip = new yazl.ZipFile();
	const digest = (text: string) => createHash("sha256").update(text).digest("base64url");
	const lines = Object.entries(files).map(([name, text]) => `${name},sha256=${digest(text)},${Buffer.byteLength(text)}`);
	const all = { ...files, [`tensorflow_cpu-${TENSORFLOW_VERSION}.dist-info/RECORD`]: record ?? lines.join("\n") };
	for (const [name, text] of Object.entries(all)) zip.addBuffer(Buffer.from(text), name);
	zip.end();
	await pipeline(zip.outputStream, createWriteStream(file));
	return file;
}

/** The files of a wheel that setup accepts, and some that it must leave alone. */
export function wheelFiles(): Record<string, string> {
	return {
		"tensorflow/libtensorflow_cc.so.2": "not a library",
		"tensorflow/libtensorflow_framework.so.2": "not a library either",
		"tensorflow/include/tensorflow/c/c_api.h": "// header",
		"tensorflow/include/Eigen/Core": "// not needed",
		"tensorflow/python/big.so": "not needed",
		[`tensorflow_cpu-${TENSORFLOW_VERSION}.dist-info/METADATA`]: "Name: tensorflow-cpu\n",
	};
}

/** A cache in which the real libraries are staged (by a link) and the addon is not compiled. @returns the addon's folder */
export function linkLibraries(world: FakeWorld, real: StagedRuntime): string {
	const runtime = runtimeFolder(world.cache, "cpu");
	mkdirSync(runtime, { recursive: true });
	symlinkSync(path.join(real.folder, "tensorflow"), path.join(runtime, "tensorflow"));
	const manifest = { flavour: "cpu", tensorflowVersion: TENSORFLOW_VERSION, wheel: "linked", stagedAt: new Date(0).toISOString() };
	writeFileSync(path.join(runtime, "runtime.json"), JSON.stringify(manifest));
	const kernels = findNodeKernels(world.cache);
	if (!kernels) throw new Error("tfjs-node-gpu is a dev dependency of this repository; run npm install");
	return addonFolder(runtime, kernels);
}
