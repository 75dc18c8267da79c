/** selectBackend and doctor where the native runtime is staged, and where it is staged but broken. */
import { execFile } from "node:child_process";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { doctor } from "../../src/backend/doctor.js";
import { probeNative } from "../../src/backend/probe-native.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import { addonFiles } from "../../src/backend/setup/compile-addon.js";
import { findStagedRuntime, type StagedRuntime } from "../../src/backend/setup/staged-runtime.js";
import * as tf from "../../src/backend/tf.js";
import { fakeWorld, linkLibraries } from "./fake-tools.js";
import { nativeMissing } from "./native-runtime.js";

const SCRIPT = path.join(path.dirname(fileURLToPath(import.meta.url)), "print-backend.ts");

/** What a fresh process answers and prints. */
async function inProcess(env: NodeJS.ProcessEnv): Promise<{ stdout: string; stderr: string }> {
	return promisify(execFile)(process.execPath, ["--import", "tsx", SCRIPT], { env: { ...process.env, ...env } });
}

describe.skipIf(nativeMissing)(`native runtime${nativeMissing ? ` (skipped: ${nativeMissing})` : ""}`, () => {
	it("auto takes it and says so", async () => {
		const { name, reason } = await selectBackend("auto");
		expect(name).toMatch(/^native-(cpu|gpu)$/);
		expect(reason).toMatch(/^native-\w+: TensorFlow 2\.21\.0/);
		expect(tf.getBackend()).toBe("tensorflow");
		expect(tf.tidy(() => tf.matMul([[1, 2]], [[3], [4]]).dataSync())).toEqual(new Float32Array([11]));
	});

	it("loads without a line on stderr", async () => {
		const { stdout, stderr } = await inProcess({ TF_CPP_MIN_LOG_LEVEL: undefined });
		expect(stdout).toMatch(/^native-/);
		expect(stderr).toBe("");
	});

	it("TensorFlow's messages stay where the user set a level", async () => {
		const { stderr } = await inProcess({ TF_CPP_MIN_LOG_LEVEL: "0" });
		expect(stderr).toMatch(/oneDNN/);
	});

	it("an addon that cannot be loaded costs the child, not this process: auto goes on, with the loader's words", async () => {
		using world = fakeWorld();
		const addon = addonFiles(linkLibraries(world, findStagedRuntime("cpu") as StagedRuntime));
		mkdirSync(path.dirname(addon.binding), { recursive: true });
		writeFileSync(addon.binding, "not a shared object");
		const { stdout } = await inProcess({ TFJS_RFT_CACHE: world.cache });
		expect(stdout).toMatch(
			/^wasm: .*no native-cpu: the process that loads \S+ ended with exit code 1 \(.*(file too short|invalid ELF header)\)/,
		);
		const report = await doctor({ env: { ...process.env, TFJS_RFT_CACHE: world.cache } });
		expect(report.backend).toBe("wasm");
		expect(report.checks.find(({ name }) => name === "addon")).toMatchObject({ ok: false, fix: expect.stringContaining("tfjs-rft setup") });
	});

	it("a probe's good answer is kept until the addon changes", async () => {
		using world = fakeWorld();
		const runtime = findStagedRuntime("cpu") as StagedRuntime;
		await probeNative(runtime.addon, runtime.folder);
		const start = performance.now();
		const kept = await probeNative(runtime.addon, runtime.folder);
		expect(performance.now() - start).toBeLessThan(50);
		expect(kept).toMatchObject({ ok: true, probe: { tensorflowVersion: "2.21.0" } });

		const addon = addonFiles(linkLibraries(world, runtime));
		mkdirSync(path.dirname(addon.binding), { recursive: true });
		writeFileSync(addon.binding, "text");
		expect((await probeNative(addon, path.dirname(path.dirname(path.dirname(addon.binding))))).ok).toBe(false);
		utimesSync(addon.binding, 1, 1);
		expect((await probeNative(addon, path.dirname(path.dirname(path.dirname(addon.binding))))).ok).toBe(false);
	});

	it("doctor: all is well, and what would run", async () => {
		const { checks, backend } = await doctor();
		expect(backend).toMatch(/^native-/);
		const found = Object.fromEntries(checks.map((check) => [check.name, check]));
		expect(found.TensorFlow).toMatchObject({ ok: true, found: expect.stringContaining("2.21.0") });
		expect(found.addon.ok).toBe(true);
		expect(found["bf16 kernels"].ok).toBe(true);
		expect(found.device.found).toMatch(/^(CPU|GPU)$/);
	});
});
