import { expect, it } from "vitest";
import * as tf from "../../src/backend/tf.js";
import { describeOpContract } from "./ops.contract.js";

describeOpContract("wasm");

it("known defect of tfjs-backend-wasm 4.22: a float32 oneHot holds the bits of an integer; when this fails, loss.ts may use oneHot", () => {
	const bits = new Int32Array(tf.tidy(() => tf.oneHot(tf.tensor1d([1], "int32"), 2, 1, 0, "float32").dataSync()).buffer);
	expect([...bits]).toEqual([0, 1]);
});
