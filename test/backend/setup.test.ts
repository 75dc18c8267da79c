import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { loadImageOps } from "../../src/backend/image-ops.js";
import { cacheFolder, runtimeFolder } from "../../src/backend/setup/cache-folder.js";
import { findCompiler } from "../../src/backend/setup/compile-addon.js";
import { imageOpsFile } from "../../src/backend/setup/compile-image-ops.js";
import { extraRequirements } from "../../src/backend/setup/install-nvidia.js";
import { SetupError } from "../../src/backend/setup/setup-error.js";
import type { SetupProgress } from "../../src/backend/setup/setup-progress.js";
import { findStagedRuntime, type StagedRuntime } from "../../src/backend/setup/staged-runtime.js";
import { tensorflowWheel } from "../../src/backend/setup/tensorflow-release.js";
import { setup } from "../../src/backend/setup.js";
import { BROKEN_COMPILER, copyingCompiler, fakePip, fakeWorld, linkLibraries, wheelFiles, writeWheel } from "./fake-tools.js";
import { nativeMissing } from "./native-runtime.js";

async function failure(promise: Promise<unknown>): Promise<SetupError> {
	const error = await promise.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	expect(error).toBeInstanceOf(SetupError);
	return error as SetupError;
}

describe("what can go wrong, and what the error says", () => {
	it("no Python", async () => {
		using world = fakeWorld();
		const error = await failure(setup({ device: "cpu", env: world.env }));
		expect(error.step).toBe("python");
		expect(error.message).toMatch(/python3 -m pip: not found/);
		expect(error.message).toMatch(/apt-get install python3 python3-pip.*--wheel tensorflow_cpu-2\.21\.0/);
	});

	it("Python without pip", async () => {
		using world = fakeWorld();
		world.addTool("python3", `console.error("No module named pip"); process.exit(1);`);
		const error = await failure(setup({ device: "cpu", env: world.env }));
		expect(error.step).toBe("python");
		expect(error.output).toMatch(/python3 -m pip: No module named pip/);
	});

	it("a folder where Python, or the compiler, should be", async () => {
		using world = fakeWorld();
		const python = await failure(setup({ device: "cpu", env: { ...world.env, TFJS_RFT_PYTHON: world.folder } }));
		expect(python.output).toMatch(/-m pip: not a program that may be run/);
		await expect(findCompiler({ ...world.env, CXX: world.folder })).rejects.toThrow(/not a program that may be run\n.*name it in CXX/s);
	});

	it("no network", async () => {
		using world = fakeWorld();
		world.addTool("python3", fakePip());
		const error = await failure(setup({ device: "cpu", env: world.env }));
		expect(error.step).toBe("download");
		expect(error.command).toMatch(/^python3 -m pip download .*--require-hashes .*--platform manylinux_2_27_/);
		expect(error.output).toMatch(/Could not find a version/);
		expect(error.wayOut).toMatch(/--wheel FILE/);
	});

	it("no cache folder that can be made", async () => {
		using world = fakeWorld();
		const env = { ...world.env, TFJS_RFT_CACHE: path.join(fileURLToPath(import.meta.url), "cache") };
		const error = await failure(setup({ device: "cpu", env }));
		expect(error.message).toMatch(/setup\.test\.ts\/cache can't be written in: ENOTDIR/);
		expect(error.wayOut).toMatch(/TFJS_RFT_CACHE/);
	});

	it("no wheel where --wheel points", async () => {
		using world = fakeWorld();
		const error = await failure(setup({ device: "cpu", wheel: "/nowhere.whl", env: world.env }));
		expect(error.message).toMatch(/no such file: \/nowhere\.whl/);
	});

	it("a wheel of something else", async () => {
		using world = fakeWorld();
		const wheel = await writeWheel(path.join(world.folder, "other.whl"), { files: { "other/__init__.py": "" } });
		const error = await failure(setup({ device: "cpu", wheel, env: world.env }));
		expect(error.step).toBe("extract");
		expect(error.message).toMatch(/other\.whl: not a TensorFlow 2\.21\.0 wheel/);
	});

	it("a damaged wheel", async () => {
		using world = fakeWorld();
		const record = "tensorflow/libtensorflow_cc.so.2,sha256=AAAA,13\n";
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"), { record });
		const error = await failure(setup({ device: "cpu", wheel, env: world.env }));
		expect(error.message).toMatch(/libtensorflow_cc\.so\.2 has SHA-256 \S+ but the wheel's RECORD says AAAA/);
		expect(existsSync(runtimeFolder(world.cache, "cpu"))).toBe(false);
	});

	it("a file that is no zip", async () => {
		using world = fakeWorld();
		const error = await failure(setup({ device: "cpu", wheel: fileURLToPath(import.meta.url), env: world.env }));
		expect(error.step).toBe("extract");
		expect(error.message).toMatch(/central directory/i);
	});

	it("no compiler", async () => {
		using world = fakeWorld();
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"));
		const error = await failure(setup({ device: "cpu", wheel, env: world.env }));
		expect(error.step).toBe("compile");
		expect(error.message).toMatch(/g\+\+: not found/);
		expect(error.wayOut).toMatch(/apt-get install g\+\+/);
	});

	it("a compiler that fails: the command and the end of its output", async () => {
		using world = fakeWorld();
		world.addTool("g++", BROKEN_COMPILER);
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"));
		const steps: SetupProgress[] = [];
		const error = await failure(setup({ device: "cpu", wheel, env: world.env, onProgress: (progress) => steps.push(progress) }));
		expect(error.step).toBe("compile");
		expect(error.command).toMatch(/^g\+\+ -std=c\+\+17 .*native\/graph_functions\.cc .*tfjs_backend\.cc/);
		expect(error.output).toMatch(/fatal error: napi\.h/);
		const said = steps.find(({ detail }) => detail.includes("images will be resized in JavaScript"))?.detail;
		expect(said).toMatch(/command: g\+\+ -std=c\+\+17 -O3 .*native\/image_ops\.cc/);
	});

	it("a machine for which there is no libtensorflow", () => {
		expect(() => tensorflowWheel("cuda", "darwin", "arm64")).toThrow(/no libtensorflow for cuda on darwin-arm64.*\n.*--device cpu/);
	});

	it("an addon that does not load", async () => {
		using world = fakeWorld();
		world.addTool("g++", copyingCompiler(path.dirname(fileURLToPath(import.meta.url)).concat("/../fixtures/addon-that-is-text")));
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"));
		const error = await failure(setup({ device: "cpu", wheel, env: world.env }));
		expect(error.step).toBe("probe");
		expect(error.message).toMatch(/tfjs_binding\.node ended with exit code 1/);
		expect(error.output).toMatch(/file too short|invalid ELF header/);
	});
});

describe("going on where it was", () => {
	it("what one run finished, the next does not do again", async () => {
		using world = fakeWorld();
		world.addTool("python3", fakePip(await writeWheel(path.join(world.folder, "tensorflow_cpu-2.21.0.whl"))));
		world.addTool("g++", BROKEN_COMPILER);
		const steps: SetupProgress[] = [];
		await failure(setup({ device: "cpu", env: world.env, onProgress: (progress) => steps.push(progress) }));
		expect(new Set(steps.map(({ step }) => step))).toEqual(new Set(["download", "extract", "compile"]));
		expect(steps.filter(({ step }) => step === "extract").at(-1)).toMatchObject({ doneBytes: steps.at(-2)?.totalBytes });
		await failure(setup({ device: "cpu", env: world.env }));
		expect(world.calls().filter((call) => call.includes("download"))).toHaveLength(1);
		expect(readdirSync(path.join(world.cache, "downloads"))).toEqual([]);
	});

	it("another wheel than the staged one is not silently left unused", async () => {
		using world = fakeWorld();
		world.addTool("g++", BROKEN_COMPILER);
		const [first, second] = [await writeWheel(path.join(world.folder, "one.whl")), await writeWheel(path.join(world.folder, "two.whl"))];
		await failure(setup({ device: "cpu", wheel: first, env: world.env })); // the compiler fails, the libraries are staged
		expect((await failure(setup({ device: "cpu", wheel: first, env: world.env }))).step).toBe("compile");
		const error = await failure(setup({ device: "cpu", wheel: second, env: world.env }));
		expect(error.message).toMatch(/expected to stage .*two\.whl, but .* is staged from one\.whl/);
		expect(error.wayOut).toMatch(/^remove .* and run setup again/);
	});

	it("only what the addon needs is taken out of the wheel", async () => {
		using world = fakeWorld();
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"));
		await failure(setup({ device: "cpu", wheel, env: world.env }));
		const folder = runtimeFolder(world.cache, "cpu");
		const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
		expect(files.map(({ name }) => name).sort()).toEqual(
			["METADATA", "RECORD", "c_api.h", "libtensorflow_cc.so.2", "libtensorflow_framework.so.2", "runtime.json"].sort(),
		);
		expect(readFileSync(path.join(folder, "tensorflow/libtensorflow_cc.so.2"), "utf8")).toBe(
			wheelFiles()["tensorflow/libtensorflow_cc.so.2"],
		);
		expect(existsSync(wheel)).toBe(true);
	});

	it("an aborted download leaves nothing that counts as a wheel", async () => {
		using world = fakeWorld();
		const sleeping = `if (args.includes("--version")) console.log("pip 99"); else setTimeout(() => {}, 60_000);`;
		world.addTool("python3", sleeping);
		const controller = new AbortController();
		const onProgress = ({ step }: SetupProgress) => step === "download" && controller.abort(new Error("stopped by the user"));
		await expect(setup({ device: "cpu", env: world.env, signal: controller.signal, onProgress })).rejects.toThrow("stopped by the user");
		const left = readdirSync(path.join(world.cache, "downloads", "cpu")).filter((name) => name.endsWith(".whl"));
		expect(left).toEqual([]);
		expect(existsSync(path.join(world.cache, "setup.lock"))).toBe(false);
	});
});

describe("NVIDIA's libraries", () => {
	it("are what the wheel's METADATA lists under and-cuda, and nothing else", () => {
		const metadata = [
			"Requires-Dist: numpy>=1.26.0",
			'Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == "and-cuda"',
			'Requires-Dist: tensorflow-io; (sys_platform != "win32") and extra == "gcs-filesystem"',
		].join("\n");
		expect(extraRequirements(metadata, "and-cuda")).toEqual(["nvidia-cudnn-cu12<10.0,>=9.3.0.75"]);
	});

	it("are put beside libtensorflow, and a package that is there is not fetched again", async () => {
		using world = fakeWorld();
		const metadata = ["cublas", "nccl"].map((name) => `Requires-Dist: nvidia-${name}-cu12>=1; extra == "and-cuda"`).join("\n");
		const files = { ...wheelFiles(), "tensorflow_cpu-2.21.0.dist-info/METADATA": metadata };
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"), { files });
		const installing = (broken: string) => `
			const fs = require("fs");
			const name = /nvidia-(\\w+)/.exec(args.at(-1))?.[1];
			if (args.includes("--version")) console.log("pip 99");
			else if (name === "${broken}") { console.error("ERROR: disk full"); process.exit(1); }
			else {
				const folder = args[args.indexOf("--target") + 1] + "/nvidia/" + name + "/lib";
				fs.mkdirSync(folder, { recursive: true });
				fs.writeFileSync(folder + "/lib" + name + ".so", "");
			}`;
		world.addTool("python3", installing("nccl"));
		const error = await failure(setup({ device: "cuda", wheel, env: world.env }));
		expect(error).toMatchObject({ step: "nvidia", output: "ERROR: disk full" });
		expect(error.command).toMatch(/pip install --target .*nvidia-nccl-cu12>=1'$/);

		world.addTool("python3", installing("none"));
		expect((await failure(setup({ device: "cuda", wheel, env: world.env }))).step).toBe("compile");
		const installs = world.calls().filter((call) => call.includes("pip install"));
		expect(installs.map((call) => /nvidia-\w+/.exec(call.split(" ").at(-1) ?? "")?.[0])).toEqual([
			"nvidia-cublas",
			"nvidia-nccl",
			"nvidia-nccl",
		]);
		const libraries = path.join(runtimeFolder(world.cache, "cuda"), "nvidia");
		expect(readdirSync(libraries, { recursive: true })).toEqual(expect.arrayContaining(["cublas/lib/libcublas.so", "nccl/lib/libnccl.so"]));
	});

	it("a wheel without them is refused for cuda", async () => {
		using world = fakeWorld();
		const wheel = await writeWheel(path.join(world.folder, "tf.whl"));
		const error = await failure(setup({ device: "cuda", wheel, env: world.env }));
		expect(error.step).toBe("nvidia");
		expect(error.wayOut).toMatch(/--device cpu/);
	});
});

describe.skipIf(nativeMissing)(`with the real libraries${nativeMissing ? ` (skipped: ${nativeMissing})` : ""}`, () => {
	const real = () => findStagedRuntime("cpu") as StagedRuntime;
	const compiled = () => [real().addon.binding, imageOpsFile(cacheFolder())].map((file) => path.dirname(file));

	it("a second run finds everything staged, in less than a second", async () => {
		await setup({ device: "cpu" });
		const start = performance.now();
		const result = await setup({ device: "cpu" });
		expect(performance.now() - start).toBeLessThan(1000);
		expect(result).toMatchObject({ flavour: "cpu", alreadyStaged: true, probe: { tensorflowVersion: "2.21.0", gpu: false } });
	});

	it("an addon of other sources stays, and the new one is compiled beside it", async () => {
		using world = fakeWorld();
		linkLibraries(world, real());
		world.addTool("g++", copyingCompiler(...compiled()));
		const older = path.join(runtimeFolder(world.cache, "cpu"), "addons", "napi-v8-older", "tfjs_binding.node");
		mkdirSync(path.dirname(older), { recursive: true });
		writeFileSync(older, "");
		const results = [await setup({ device: "cpu", env: world.env }), await setup({ device: "cpu", env: world.env })];
		expect(results.map(({ alreadyStaged }) => alreadyStaged)).toEqual([false, true]);
		expect(existsSync(older)).toBe(true);
		expect(results[0].addon).not.toBe(older);
		expect(world.calls().filter((call) => call.includes("graph_functions.cc"))).toHaveLength(1);
	});

	it("the image addon is compiled even where TensorFlow can't be had", async () => {
		using world = fakeWorld();
		world.addTool("g++", copyingCompiler(...compiled()));
		expect(loadImageOps(world.env)).toBeNull();
		expect((await failure(setup({ device: "cpu", env: world.env }))).step).toBe("python");
		expect(loadImageOps(world.env)).toHaveProperty("imageToPatches");
	});

	it("two processes at once: one compiles, the other waits, both succeed", async () => {
		using world = fakeWorld();
		linkLibraries(world, real());
		world.addTool("g++", copyingCompiler(...compiled()));
		const child = async () => {
			const script = path.join(path.dirname(fileURLToPath(import.meta.url)), "run-setup.ts");
			const run = spawn(process.execPath, ["--import", "tsx", script], { env: world.env, stdio: ["ignore", "pipe", "inherit"] });
			let stdout = "";
			run.stdout.setEncoding("utf8").on("data", (text: string) => {
				stdout += text;
			});
			await once(run, "close");
			return stdout;
		};
		const outputs = await Promise.all([child(), child()]);
		for (const output of outputs) expect(output).toMatch(/staged TensorFlow 2\.21\.0/);
		expect(world.calls().filter((call) => call.includes("graph_functions.cc"))).toHaveLength(1);
	});
});
