import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBfloat16, toFloat32 } from "../../src/backend/bfloat16.js";
import { readTensor } from "../../src/backend/read-tensor.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import { memory } from "../../src/backend/tf.js";
import { float32ToBytes } from "../../src/checkpoint/dtype.js";
import { nativeMissing } from "./native-runtime.js";

const VALUES = Float32Array.from({ length: 600 }, (_, i) => ((i % 255) - 127) / 64); // exact in every type

describe.skipIf(nativeMissing)("readTensor", () => {
	let folder: string;
	beforeAll(async () => {
		await selectBackend("native-cpu");
		folder = await mkdtemp(join(tmpdir(), "rft-read-tensor-"));
	});
	afterAll(() => rm(folder, { recursive: true }));

	async function stored(dtype: "F32" | "BF16" | "F16", lead: number): Promise<{ file: string; offset: number; length: number }> {
		const file = join(folder, `${dtype}-${lead}`);
		const bytes = float32ToBytes(VALUES, dtype);
		await writeFile(file, Buffer.concat([Buffer.alloc(lead, 7), bytes, Buffer.alloc(5, 7)]));
		return { file, offset: lead, length: bytes.byteLength };
	}

	it.each(["F32", "BF16", "F16"] as const)("reads %s from any offset, several at once", async (dtype) => {
		const before = memory().numTensors;
		const places = await Promise.all([0, 1, 64, 4099].map((lead) => stored(dtype, lead)));
		const tensors = await Promise.all(places.map((place) => readTensor({ ...place, dtype, shape: [20, 30] })));
		for (const tensor of tensors) {
			expect(tensor.shape).toEqual([20, 30]);
			expect(isBfloat16(tensor)).toBe(dtype === "BF16");
			const wide = dtype === "BF16" ? toFloat32(tensor) : tensor.clone();
			expect(await wide.data()).toEqual(VALUES);
			wide.dispose();
			tensor.dispose();
		}
		expect(memory().numTensors).toBe(before);
	});

	it("says which file ends early, is not there, or holds another type", async () => {
		const place = await stored("F32", 0);
		const shape = [20, 30];
		await expect(readTensor({ ...place, offset: 100, dtype: "F32", shape })).rejects.toThrow(`${place.file}: the file ends early`);
		const gone = join(folder, "gone");
		await expect(readTensor({ ...place, file: gone, dtype: "F32", shape })).rejects.toThrow(`${gone}: No such file or directory`);
		await expect(readTensor({ ...place, dtype: "I64", shape })).rejects.toThrow("a tensor of type I64; expected one of F32, BF16, F16");
		await expect(readTensor({ ...place, dtype: "F32", shape: [20, 31] })).rejects.toThrow("bytes");
	});
});
