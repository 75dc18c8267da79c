import { expect, it } from "vitest";
import { chooseDtype } from "../../src/model/qwen2_5_vl/choose-dtype.js";

const AVX = ["avx512_bf16"];

it.each([
	["auto", true, "native-cpu", AVX, "bfloat16: the checkpoint is stored in it, and the processor has avx512_bf16"],
	["auto", true, "native-gpu", [], "bfloat16: the checkpoint is stored in it, and the GPU has it"],
	["auto", true, "native-cpu", [], "float32: this processor has no bfloat16 instructions"],
	["auto", false, "native-cpu", AVX, "float32: the checkpoint is not stored in bfloat16"],
	["auto", true, "wasm", AVX, "float32: wasm has no bfloat16"],
	["float32", true, "native-cpu", AVX, "float32: asked for"],
	["bfloat16", false, "native-cpu", [], "bfloat16: asked for"],
] as const)("%s, stored in bfloat16: %s, on %s with %j → %s", (request, stored, backend, instructions, reason) => {
	expect(chooseDtype(request, stored, backend, instructions)).toEqual({
		dtype: reason.split(":")[0],
		compute: reason.split(":")[0],
		reason,
	});
});

it.each(["wasm", "cpu"] as const)("refuses bfloat16 on %s, with a way out", (backend) => {
	expect(() => chooseDtype("bfloat16", true, backend, AVX)).toThrow(
		`the backend ${backend} has no bfloat16; expected native-cpu or native-gpu. Run \`npx tfjs-rft setup\`, or use dtype "auto" or "float32"`,
	);
});

it.each(["wasm", "cpu", "native-gpu"] as const)("refuses int8 on %s, with a way out", (backend) => {
	expect(() => chooseDtype("int8", true, backend, AVX)).toThrow(
		`int8 needs the backend native-cpu on a processor with AVX2; this is ${backend}. Use dtype "auto", "bfloat16" or "float32"`,
	);
});
