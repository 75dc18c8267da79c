/**
 * Gradient checkpointing (Chen et al. 2016; torch.utils.checkpoint): a layer's intermediates are not kept for the backward pass but computed
 * again when it comes to the layer. Only the layers' inputs stay in memory, and the backward pass frees each layer's tensors
 * when it is through with it, which TensorFlow.js does not do by itself before the whole pass has ended.
 */
import { customGrad, engine, type GradSaveFunc, grads, type Tensor, type Tensor2D, type Variable } from "../backend/tf.js";

/**
 * @param run the layer, of its input and `context`; called again in the backward pass, so it must give the same each time
 * @param x [N, C] the layer's input, differentiable
 * @param context tensors that `run` reads and that have no gradient (rotary tables, a mask)
 * @param parameters every variable that `run` uses: a gradient flows to each
 * @returns [N, C]
 */
export function gradientCheckpoint(
	run: (x: Tensor2D, context: Tensor[]) => Tensor2D,
	x: Tensor2D,
	context: Tensor[],
	parameters: readonly Variable[],
): Tensor2D {
	const op = customGrad((...args) => {
		const [x] = args as Tensor[];
		const save = args[args.length - 1] as unknown as GradSaveFunc;
		save([x, ...context]);
		return {
			value: run(x as Tensor2D, context),
			gradFunc: (dy: Tensor, [x, ...context]: Tensor[]) =>
				onOwnTape(() => grads((x) => run(x as Tensor2D, context))([x, ...parameters], dy)),
		};
	});
	return op(x, ...parameters) as Tensor2D;
}

/** The engine has one tape. A gradient inside a backward pass would throw away the outer one's, which is needed to the end. */
function onOwnTape<T>(run: () => T): T {
	const { state } = engine();
	const outer = state.activeTape;
	try {
		return run();
	} finally {
		state.activeTape = outer;
	}
}
