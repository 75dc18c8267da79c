/** Compares the training state of two checkpoints. */
import path from "node:path";
import { expect } from "vitest";
import { bytesToFloat32 } from "../../src/checkpoint/dtype.js";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";

/** Every tensor of a checkpoint's training state: parameters and both moments. */
async function stateOf(checkpoint: string): Promise<Map<string, Float32Array>> {
	const file = await openSafetensors(path.join(checkpoint, "optimizer.safetensors"));
	try {
		const state = new Map<string, Float32Array>();
		for (const [name, { dtype }] of file.header) state.set(name, bytesToFloat32(await file.read(name), dtype));
		return state;
	} finally {
		await file.close();
	}
}

/** |a − b| over |a|, of all tensors whose names begin so. */
function distance(a: Map<string, Float32Array>, b: Map<string, Float32Array>, kind: string): number {
	let [difference, norm] = [0, 0];
	for (const [name, values] of a) {
		if (!name.startsWith(kind)) continue;
		const others = b.get(name) ?? new Float32Array();
		expect(others.length, name).toBe(values.length);
		values.forEach((value, i) => {
			difference += (value - others[i]) ** 2;
			norm += value ** 2;
		});
	}
	return Math.sqrt(difference / norm);
}

/** The same tensors, but for rounding. */
export async function expectSameState(checkpoint: string, expected: string) {
	const [want, got] = [await stateOf(expected), await stateOf(checkpoint)];
	expect([...got.keys()]).toEqual([...want.keys()]);
	expect(distance(want, got, "param.")).toBeLessThan(1e-6);
	expect(distance(want, got, "exp_avg.")).toBeLessThan(1e-5);
	expect(distance(want, got, "exp_avg_sq.")).toBeLessThan(1e-5);
	expect(distance(want, got, "step.")).toBe(0);
}
