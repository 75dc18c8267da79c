/**
 * `compile` without the rest of this library: a small network learns to tell two interleaved spirals apart, once with TensorFlow.js's ops called one
 * by one, once with the whole training step (forward, gradients, Adam) as one TensorFlow graph. Needs the native backend: `npx tfjs-rft setup`.
 *
 *     npx tsx examples/06-compile.ts [steps]
 */

import * as tf from "@tensorflow/tfjs";
import { compile } from "../src/compile.js";
import { selectBackend } from "../src/index.js";

const STEPS = Number(process.argv[2] ?? 300);
const POINTS = 128;
const WIDTH = 32;

/** Points [POINTS, 2] of two spirals, and which of the two each is on [POINTS, 1]. */
function spirals(): { points: tf.Tensor2D; labels: tf.Tensor2D } {
	const points = Array.from({ length: POINTS }, (_, i) => {
		const radius = 0.1 + (i >> 1) / POINTS;
		const angle = 6 * radius + (i % 2) * Math.PI;
		return [radius * Math.cos(angle), radius * Math.sin(angle)];
	});
	return { points: tf.tensor2d(points), labels: tf.tensor2d(points.map((_, i) => [i % 2])) };
}

/** A network of three layers with its optimizer; the same weights each time. */
function network() {
	const sizes = [2, WIDTH, WIDTH, 1];
	const layers = sizes.slice(1).map((size, i) => ({
		weight: tf.variable(tf.randomNormal([sizes[i], size], 0, 1 / Math.sqrt(sizes[i]), "float32", i + 1)),
		bias: tf.variable(tf.zeros([size])),
	}));
	const logits = (x: tf.Tensor): tf.Tensor =>
		layers.reduce((h, { weight, bias }, i) => {
			const y = tf.add(tf.matMul(h as tf.Tensor2D, weight as tf.Tensor as tf.Tensor2D), bias);
			return i < layers.length - 1 ? tf.tanh(y) : y;
		}, x);
	const optimizer = tf.train.adam(0.01);
	/** One step on a batch: log(1 + exp(−z)) for the true class, z = ± the logit. */
	const step = (points: tf.Tensor2D, labels: tf.Tensor2D): tf.Scalar => {
		const loss = () => tf.mean(tf.softplus(tf.mul(logits(points), tf.sub(1, tf.mul(2, labels))))) as tf.Scalar;
		return optimizer.minimize(loss, true) as tf.Scalar;
	};
	const dispose = () => {
		optimizer.dispose();
		tf.dispose(layers);
	};
	return { step, logits, dispose };
}

const { reason } = await selectBackend("auto");
console.log(reason);
const { points, labels } = spirals();

/** Trains from the start. @returns milliseconds per step, and the last loss */
function train(step: (points: tf.Tensor2D, labels: tf.Tensor2D) => tf.Scalar): { ms: number; loss: number } {
	// Adam makes its moments on the first step, the second is recorded, and TensorFlow prepares the graph on the third.
	for (let i = 0; i < 3; i++) step(points, labels).dispose();
	let loss = 0;
	const begin = performance.now();
	for (let i = 0; i < STEPS; i++) [loss] = tf.tidy(() => step(points, labels).dataSync());
	return { ms: (performance.now() - begin) / STEPS, loss };
}

const first = network();
const eager = train(first.step);
first.dispose();

const second = network();
const step = compile(second.step, { name: "train" });
const graph = train(step);
const predict = compile((x: tf.Tensor2D) => tf.sigmoid(second.logits(x)));
const right = tf.tidy(() => {
	predict(points);
	return tf.mean(tf.cast(tf.equal(tf.round(predict(points)), labels), "float32")).dataSync()[0];
});

console.log(`mode: ${step.mode} (${step.modeReason}); ${step.recordings} graph made`);
console.log(`eager ${eager.ms.toFixed(2)} ms per step, loss ${eager.loss.toFixed(5)}`);
console.log(`graph ${graph.ms.toFixed(2)} ms per step, loss ${graph.loss.toFixed(5)}, ${(eager.ms / graph.ms).toFixed(1)} times as fast`);
console.log(`right on ${(100 * right).toFixed(0)} % of ${POINTS} points`);
step.dispose();
predict.dispose();
second.dispose();
