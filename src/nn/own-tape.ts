import { engine } from "../backend/tf.js";

/**
 * Runs something that takes gradients inside of a forward or backward pass.
 *
 * The engine has one tape. A gradient taken within another pass would throw away the outer one's, which is needed to the end, or (within an op of its
 * own gradient) would not be recorded at all.
 */
export function onOwnTape<T>(run: () => T): T {
	const { state } = engine();
	const { activeTape, gradientDepth, kernelDepth } = state;
	Object.assign(state, { gradientDepth: 0, kernelDepth: 0 });
	try {
		return run();
	} finally {
		Object.assign(state, { activeTape, gradientDepth, kernelDepth });
	}
}
