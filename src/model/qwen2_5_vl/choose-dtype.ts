/**
 * Which type a model's matrices are kept and multiplied in.
 *
 * | dtype | trainable | matrices in memory | products | for |
 * |---|---|---|---|---|
 * | float32 | either | float32 | float32 | sampling and training |
 * | bfloat16 | false | bfloat16, half the memory | bfloat16 | sampling: no parameter can be trained |
 * | int8 | false | int8 and a scale per row, a quarter; the vision tower's in what products are | bfloat16, or float32 without its instructions | the fastest decode steps |
 * | bfloat16 | true | float32 (the master weights that the optimizer updates) | bfloat16 | training; sampling gives the same tokens |
 *
 * Norms, biases, softmax, rotary positions and the residual stream are float32 always; a product is accumulated in float32 and rounded once.
 */
import { bfloat16Instructions } from "../../backend/bfloat16-instructions.js";
import { hasRowOps } from "../../backend/row-ops.js";
import type { BackendName } from "../../backend/select-backend.js";

/** `auto`: bfloat16 where the checkpoint is stored in it and the processor or GPU multiplies it natively, else float32. */
export type DtypeRequest = "auto" | "float32" | "bfloat16" | "int8";

export interface ChosenDtype {
	/** Of matrices in memory, unless there are float32 masters. */
	dtype: "float32" | "bfloat16" | "int8";
	/** What matrices are multiplied in. */
	compute: "float32" | "bfloat16";
	/** For a person: what was taken and why. */
	reason: string;
}

/**
 * @param stored whether the checkpoint's matrices are bfloat16 on disk
 * @param instructions the processor's for bfloat16
 * @throws for bfloat16 or int8 on a backend that has none
 */
export function chooseDtype(
	request: DtypeRequest,
	stored: boolean,
	backend: BackendName,
	instructions: readonly string[] = bfloat16Instructions(),
): ChosenDtype {
	const native = backend === "native-cpu" || backend === "native-gpu";
	if (request === "bfloat16" && !native) {
		throw new Error(
			`dtype: the backend ${backend} has no bfloat16; expected native-cpu or native-gpu. Run \`npx tfjs-rft setup\`, or use dtype "auto" or "float32"`,
		);
	}
	if (request === "int8") return chooseInt8(backend, instructions);
	if (request !== "auto") return { dtype: request, compute: request, reason: `${request}: asked for` };
	const float32 = (why: string): ChosenDtype => ({ dtype: "float32", compute: "float32", reason: `float32: ${why}` });
	const bfloat16 = (why: string): ChosenDtype => ({ dtype: "bfloat16", compute: "bfloat16", reason: `bfloat16: ${why}` });
	if (!stored) return float32("the checkpoint is not stored in bfloat16");
	if (!native) return float32(`${backend} has no bfloat16`);
	if (backend === "native-gpu") return bfloat16("the checkpoint is stored in it, and the GPU has it");
	if (instructions.length === 0) return float32("this processor has no bfloat16 instructions");
	return bfloat16(`the checkpoint is stored in it, and the processor has ${instructions.join(", ")}`);
}

function chooseInt8(backend: BackendName, instructions: readonly string[]): ChosenDtype {
	if (backend !== "native-cpu" || !hasRowOps()) {
		throw new Error(
			`dtype: int8 needs the backend native-cpu on a processor with AVX2; this is ${backend}. Use dtype "auto", "bfloat16" or "float32"`,
		);
	}
	return { dtype: "int8", compute: instructions.length > 0 ? "bfloat16" : "float32", reason: "int8: asked for" };
}
