/** selectBackend where setup has never run. One file, one process: the choice is process-wide. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { BackendUnavailableError } from "../../src/backend/backend-unavailable-error.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import * as tf from "../../src/backend/tf.js";
import { type FakeWorld, fakeWorld } from "./fake-tools.js";

let world: FakeWorld;
const { TFJS_RFT_CACHE } = process.env;
beforeAll(() => {
	world = fakeWorld();
	process.env.TFJS_RFT_CACHE = world.cache;
});
afterAll(() => {
	if (TFJS_RFT_CACHE === undefined) delete process.env.TFJS_RFT_CACHE;
	else process.env.TFJS_RFT_CACHE = TFJS_RFT_CACHE;
	world[Symbol.dispose]();
});

it("native asked for by name is refused with the way out, and nothing takes its place", async () => {
	const error = await selectBackend("native-cpu").catch((reason: unknown) => reason);
	expect(error).toBeInstanceOf(BackendUnavailableError);
	expect(error).toMatchObject({ backend: "native-cpu", wayOut: "run `npx tfjs-rft setup`" });
	expect((error as Error).message).toContain(`no libtensorflow (cpu) in ${world.cache}`);
	await expect(selectBackend("native-gpu")).rejects.toThrow(BackendUnavailableError);
});

it("auto takes wasm and says why nothing better", async () => {
	const [first, second] = await Promise.all([selectBackend("auto"), selectBackend("auto")]);
	expect(first.name).toBe("wasm");
	expect(first.reason).toMatch(/^wasm: WebAssembly kernels, one thread; no native-gpu: .*; no native-cpu: no libtensorflow/);
	expect(first.reason).not.toContain("\n");
	expect(second).toEqual(first);
	expect(tf.getBackend()).toBe("wasm");
});

it("asked again, by name or auto, the answer is the same", async () => {
	const current = await selectBackend();
	expect(await selectBackend("wasm")).toEqual(current);
	expect(current.name).toBe("wasm");
});

it("another backend is refused while tensors live on the current one, and taken when they are gone", async () => {
	const x = tf.tensor1d([1, 2]);
	await expect(selectBackend("cpu")).rejects.toThrow(/"wasm" is current in this process and holds 1 tensors; dispose/);
	expect(tf.getBackend()).toBe("wasm");
	x.dispose();
	expect((await selectBackend("cpu")).name).toBe("cpu");
	expect((await selectBackend("auto")).name).toBe("cpu");
	expect(tf.tidy(() => tf.add(tf.tensor1d([1, 2]), 1).dataSync())).toEqual(new Float32Array([2, 3]));
});
