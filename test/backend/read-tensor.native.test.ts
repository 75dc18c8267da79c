import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isBfloat16, toFloat32 } from "../../src/backend/bfloat16.js";
import { ResourceVariable } from "../../src/backend/graph/resource-variable.js";
import { readTensor } from "../../src/backend/read-tensor.js";
import { selectBackend } from "../../src/backend/select-backend.js";
import { fill, memory, tensor1d } from "../../src/backend/tf.js";
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

	describe("of 1 MiB or more", () => {
		const LARGE = Float32Array.from({ length: 2 ** 19 }, (_, i) => i % 1013);
		const shape = [2 ** 9, 2 ** 10];

		/** @param lead bytes before the tensor, which the file ends with */
		async function large(name: string, lead: number) {
			const file = join(folder, name);
			const bytes = Buffer.from(LARGE.buffer);
			await writeFile(file, Buffer.concat([Buffer.alloc(lead, 7), bytes]));
			return { file, offset: lead, length: bytes.byteLength, dtype: "F32", shape };
		}
		const sameBytes = (a: unknown, b: Float32Array) => Buffer.from((a as Float32Array).buffer).equals(Buffer.from(b.buffer));
		const isMapped = async (file: string) => (await readFile("/proc/self/maps", "utf8")).includes(file);

		it.each([
			[0, true],
			[64, true],
			[4096 + 192, true],
			[8, false], // not as TensorFlow aligns its tensors
		])("after %i bytes, uses the file's own pages: %s", async (lead, mapped) => {
			const place = await large(`large-${lead}`, lead);
			const tensor = await readTensor(place);
			expect(sameBytes(await tensor.data(), LARGE)).toBe(true);
			expect(await isMapped(place.file)).toBe(mapped);
			tensor.dispose();
			expect(await isMapped(place.file)).toBe(false);
		});

		it("never writes to the file, and keeps its values when another takes the file's place", async () => {
			const place = await large("kept", 64);
			const before = await readFile(place.file);
			const tensor = await readTensor(place);
			const variable = new ResourceVariable(tensor, "float32", { takeOver: true }); // written in place
			const row = fill([1, shape[1]], -1);
			const [begin, end] = [tensor1d([2, 0], "int32"), tensor1d([3, shape[1]], "int32")];
			variable.assignSlice(begin, end, row);
			expect((await readFile(place.file)).equals(before)).toBe(true);
			await writeFile(`${place.file}.new`, Buffer.alloc(before.byteLength, 9));
			await rename(`${place.file}.new`, place.file);
			const value = variable.read();
			const expected = LARGE.slice().fill(-1, 2 * shape[1], 3 * shape[1]);
			expect(sameBytes(await value.data(), expected)).toBe(true);
			for (const owned of [value, row, begin, end, variable]) owned.dispose();
		});

		it("says that a file ends early before any of its pages is touched", async () => {
			const place = await large("short", 0);
			await expect(readTensor({ ...place, offset: 64 })).rejects.toThrow(`${place.file}: the file ends early`);
		});
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
