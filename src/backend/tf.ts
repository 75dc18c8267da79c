/**
 * The one import of TensorFlow.js in src/: ops, types, and the gradient registry.
 *
 * `@tensorflow/tfjs-core` alone has no gradients registered, and its own file that registers them is ES module
 * source that Node 20 cannot load; the union package's CommonJS build registers them when it is imported.
 * Ops run on whatever backend `selectBackend` made current: the engine is a process-wide singleton.
 */
import "@tensorflow/tfjs";

export * from "@tensorflow/tfjs-core";
