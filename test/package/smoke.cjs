/** The installed package from CommonJS; see smoke.mjs. */
const { doctor, hostModel, ImageError, loadModel } = require("tfjs-rft");
const { fakeModel } = require("tfjs-rft/testing");

async function main([checkpoint, image]) {
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
}

main(process.argv.slice(2)).catch((error) => {
	console.error(error);
	process.exitCode = 1;
});
