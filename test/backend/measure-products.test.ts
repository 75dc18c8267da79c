import { expect, it } from "vitest";
import { measureProducts } from "../../src/backend/measure-products.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";

it("measures a plausible speed and leaves nothing behind", async () => {
	await selectBackend("wasm");
	const before = memory().numTensors;
	const flops = await measureProducts();
	expect(flops).toBeGreaterThan(1e8);
	expect(flops).toBeLessThan(1e15);
	expect(memory().numTensors).toBe(before);
});
