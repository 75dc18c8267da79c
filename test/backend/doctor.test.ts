import { describe, expect, it } from "vitest";
import { checkBfloat16Instructions, checkNode } from "../../src/backend/doctor/machine-checks.js";
import { doctor } from "../../src/backend/doctor.js";
import { BROKEN_COMPILER, fakePip, fakeWorld } from "./fake-tools.js";

describe("doctor without the native runtime", () => {
	it("names what is missing and the command for each", async () => {
		using world = fakeWorld();
		const report = await doctor({ env: world.env });
		const problems = Object.fromEntries(report.checks.filter(({ ok }) => !ok).map(({ name, fix }) => [name, fix]));
		expect(report).toMatchObject({ ok: false, backend: "wasm" });
		expect(problems).toMatchObject({
			TensorFlow: expect.stringMatching(/^npx tfjs-rft setup/),
			pip: "apt-get install python3 python3-pip",
			"C++ compiler": "apt-get install g++",
		});
	});

	it("finds pip and compiler where they are", async () => {
		using world = fakeWorld();
		world.addTool("python3", fakePip());
		world.addTool("g++", BROKEN_COMPILER);
		const { checks } = await doctor({ env: world.env });
		expect(checks).toContainEqual({ name: "pip", ok: true, found: "pip 99.0 from nowhere (python 3.99)" });
		expect(checks).toContainEqual({ name: "C++ compiler", ok: true, found: "g++ (Fake) 99.0" });
	});

	it("sharp, cores and memory are measured, and every failing check has a fix", async () => {
		using world = fakeWorld();
		const { checks } = await doctor({ env: world.env });
		expect(checks.find(({ name }) => name === "sharp")?.found).toMatch(/^\d+\.\d+\.\d+ \(libvips/);
		expect(checks.find(({ name }) => name === "cores")?.found).toMatch(/^\d+ \(/);
		expect(checks.find(({ name }) => name === "memory")?.found).toMatch(/^[\d.]+ GiB, [\d.]+ GiB available$/);
		for (const check of checks) expect(Boolean(check.fix)).toBe(!check.ok);
	});
});

describe("single checks", () => {
	it("an old Node is reported with the version to install", () => {
		expect(checkNode("18.20.0")).toMatchObject({ ok: false, fix: "install Node 20 or newer" });
		expect(checkNode("20.0.0").ok).toBe(true);
	});

	it("bf16 instructions are read from the processor's flags, whole words only", () => {
		expect(checkBfloat16Instructions("flags : avx2 avx512_bf16 fma").found).toMatch(/^avx512_bf16: --dtype auto computes/);
		expect(checkBfloat16Instructions("flags : avx2 fma").found).toMatch(/^none/);
	});
});
