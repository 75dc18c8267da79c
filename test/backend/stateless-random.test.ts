/** Numbers that are the seed's alone, on each backend. */
import { expect, it } from "vitest";
import { selectBackend } from "../../src/backend/select-backend.js";
import { statelessUniform } from "../../src/backend/stateless-random.js";
import { tensor1d, tidy } from "../../src/backend/tf.js";
import { nativeMissing } from "./native-runtime.js";

it.each(nativeMissing ? (["cpu"] as const) : (["cpu", "native-cpu"] as const))("is uniform and the seed's, on %s", async (backend) => {
	await selectBackend(backend);
	const draw = (...seed: [number, number]) => tidy(() => statelessUniform([100, 101], tensor1d(seed, "int32")).dataSync<"float32">());
	const [first, again, other, third] = [draw(3, 0), draw(3, 0), draw(3, 1), draw(4, 0)];
	expect(again).toEqual(first);
	for (const values of [first, other, third]) {
		expect(values.every((v) => v >= 0 && v < 1)).toBe(true);
		const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
		expect(Math.abs(mean - 0.5)).toBeLessThan(0.012); // 4 standard deviations
		expect(new Set(values.map((v) => Math.floor(v * 20))).size).toBe(20);
	}
	for (const values of [other, third]) {
		const correlation = values.reduce((sum, v, i) => sum + (v - 0.5) * (first[i] - 0.5), 0) / values.length / (1 / 12);
		expect(Math.abs(correlation)).toBeLessThan(0.04);
	}
});
