/**
 * The installed package from ES modules: `node smoke.mjs CHECKPOINT IMAGE`, in a folder that has tfjs-rft. Prints one line of JSON.
 * smoke.cjs is the same from CommonJS.
 */
import { doctor, hostModel, ImageError, loadModel } from "tfjs-rft";
import { fakeModel } from "tfjs-rft/testing";

const [checkpoint, image] = process.argv.slice(2);
const content = [
	{ type: "image", image },
	{ type: "text", text: "a teapot" },
];
const model = await loadModel(checkpoint, { backend: "wasm" });
const inputs = await model.processor.encode([[{ role: "user", content }]], { addGenerationPrompt: true });
const { tokens } = await model.generate(inputs, { maxNewTokens: 8 });
await model[Symbol.asyncDispose]();
const hosted = await hostModel(checkpoint, { backend: "wasm" });
const there = await hosted.generate(inputs, { maxNewTokens: 8 });
await hosted[Symbol.asyncDispose]();

const missing = [[{ role: "user", content: [{ type: "image", image: "missing.png" }] }]];
const refusal = await fakeModel({ answer: () => "" })
	.processor.encode(missing)
	.catch((error) => error);

const { checks } = await doctor();
console.log(
	JSON.stringify({
		node: process.version,
		tokens: [...tokens[0]],
		hostedTokens: [...there.tokens[0]],
		oneImageError: refusal instanceof ImageError,
		checks: checks.map(({ name }) => name),
	}),
);
