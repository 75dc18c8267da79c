/**
 * `tfjs-rft/compile`: functions of tensors as single TensorFlow graphs, for any TensorFlow.js program on the native backend.
 * See docs/guide/compile.md.
 */
export { CaptureError, type Compiled, type CompileOptions, compile } from "./backend/graph/compile.js";
export { ResourceVariable } from "./backend/graph/resource-variable.js";
