import { engine, type Tensor, Variable } from "../tf.js";
import { type ResultStructure, readResult } from "./tensor-structure.js";

/**
 * Runs `call` like `tidy`, for any structure of tensors, and makes its result its own: a tensor that existed before, a variable, or the second of
 * two that are the same is replaced by a clone, so that the caller may dispose each of them.
 *
 * @param beforeEnd sees the result while the scope is open
 */
export function callInScope(call: () => unknown, beforeEnd: (tensors: Tensor[]) => void = () => {}): ResultStructure {
	const scoped = engine();
	scoped.startScope("compile");
	const tensors: Tensor[] = [];
	try {
		const { activeScope } = scoped.state;
		const returned = readResult(call());
		for (const tensor of returned.tensors) {
			const ours = tensor.scopeId === activeScope.id && !(tensor instanceof Variable) && !tensors.includes(tensor);
			tensors.push(ours ? tensor : tensor.clone());
		}
		beforeEnd(tensors);
		return { tensors, rebuild: returned.rebuild };
	} finally {
		scoped.endScope(tensors);
	}
}
