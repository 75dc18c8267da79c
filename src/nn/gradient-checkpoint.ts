/**
 * Gradient checkpointing (Chen et al. 2016; torch.utils.checkpoint): a layer's intermediates are not kept for the backward pass but computed
 * again when it comes to the layer. Only the layers' inputs stay in memory, and the backward pass frees each layer's tensors
 * when it is through with it, which TensorFlow.js does not do by itself before the whole pass has ended.
 *
 * In a captured graph the order has to be said (run-after.ts): the second run waits for the gradient that comes from above. Otherwise TensorFlow would
 * take it for the first run, being the same ops on the same inputs, or do all layers' second runs as soon as their inputs are there. And the
 * layer below waits until this one's weights have their gradients, or the intermediates that those need would stay.
 */
import { runAfter } from "../backend/graph/run-after.js";
import { customGrad, type GradSaveFunc, grads, type Tensor, type Tensor2D, tidy, type Variable } from "../backend/tf.js";
import { onOwnTape } from "./own-tape.js";

/**
 * @param run the layer, of its input and `context`; called again in the backward pass, so it must give the same each time
 * @param x [N, C] the layer's input, differentiable
 * @param context tensors that `run` reads and that have no gradient (rotary tables, a mask)
 * @param parameters every variable that `run` uses: a gradient flows to each that is trainable
 * @returns [N, C]
 */
export function gradientCheckpoint(
	run: (x: Tensor2D, context: Tensor[]) => Tensor2D,
	x: Tensor2D,
	context: Tensor[],
	parameters: readonly Variable[],
): Tensor2D {
	const trained = parameters.filter(({ trainable }) => trainable);
	const op = customGrad((...args) => {
		const [x] = args as Tensor[];
		const save = args[args.length - 1] as unknown as GradSaveFunc;
		save([x, ...context]);
		const gradFunc = (dy: Tensor, [x, ...context]: Tensor[]) =>
			tidy(() => {
				const again = runAfter(x, [dy]);
				const gradients = grads((x) => run(x as Tensor2D, context));
				const [dx, ...ofParameters] = onOwnTape(() => gradients([again, ...trained], dy));
				return [runAfter(dx, ofParameters), ...ofParameters];
			});
		return { value: run(x as Tensor2D, context), gradFunc };
	});
	return op(x, ...trained) as Tensor2D;
}
