/**
 * Which type a model's matrices are kept and multiplied in.
 *
 * | dtype | trainable | matrices in memory | products | for |
 * |---|---|---|---|---|
 * | float32 | either | float32 | float32 | sampling and training |
 * | bfloat16 | false | bfloat16, half the memory | bfloat16 | sampling: no parameter can be trained |
 * | bfloat16 | true | float32 (the master weights that the optimizer updates) | bfloat16 | training; sampling gives the same tokens |
 *
 * Norms, biases, softmax, rotary positions and the residual stream are float32 always; a product is accumulated in float32 and rounded once.
 */
import { bfloat16Instructions } from "../../backend/bfloat16-instructions.js";
import type { BackendName } from "../../backend/select-backend.js";

/** `auto`: bfloat16 where the checkpoint is stored in it and the processor or GPU multiplies it natively, else float32. */
export type DtypeRequest = "auto" | "float32" | "bfloat16";

export interface ChosenDtype {
	dtype: "float32" | "bfloat16";
	/** For a person: what was taken and why. */
	reason: string;
}

/**
 * @param stored whether the checkpoint's matrices are bfloat16 on disk
 * @param instructions the processor's for bfloat16
 * @throws for bfloat16 on a backend that has none
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
	if (request !== "auto") return { dtype: request, reason: `${request}: asked for` };
	const float32 = (why: string): ChosenDtype => ({ dtype: "float32", reason: `float32: ${why}` });
	if (!stored) return float32("the checkpoint is not stored in bfloat16");
	if (!native) return float32(`${backend} has no bfloat16`);
	if (backend === "native-gpu") return { dtype: "bfloat16", reason: "bfloat16: the checkpoint is stored in it, and the GPU has it" };
	if (instructions.length === 0) return float32("this processor has no bfloat16 instructions");
	return { dtype: "bfloat16", reason: `bfloat16: the checkpoint is stored in it, and the processor has ${instructions.join(", ")}` };
}
