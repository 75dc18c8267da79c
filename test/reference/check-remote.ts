/**
 * Remote judges against transformers' own server: `npx tsx test/reference/check-remote.ts PYTHON > test/reference/check-remote.txt`, with a Python
 * that has `transformers[serving]` and torch (5.23 made the committed output).
 *
 * The server has the tiny golden checkpoint; the same checkpoint, loaded here, must say the same greedily. `transformers serve` refuses fields that
 * OpenAI's schema lacks, so top-k is asked for once, to see the refusal; what isn't sent it takes from generation_config.json, and so it is given to
 * the local model.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { generateCoT, loadDataset, loadModel, type PreferenceRecord, type RemoteModelOptions, remoteModel } from "../../src/index.js";

const MODEL = "test/fixtures/golden/tiny-qwen2_5_vl";
const PORT = "8765";
const ENDPOINT = `http://127.0.0.1:${PORT}/v1`;
const [python = "python3"] = process.argv.slice(2);

const args = ["-m", "transformers.cli.transformers", "serve", MODEL, "--host", "127.0.0.1", "--port", PORT, "--device", "cpu"];
const server = spawn(python, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HF_HUB_OFFLINE: "1" } });
let stderr = "";
server.stderr.on("data", (data) => (stderr += data));

async function untilUp(): Promise<void> {
	for (let tries = 0; tries < 240; tries++) {
		if (server.exitCode !== null) break;
		const up = await fetch(`http://127.0.0.1:${PORT}/health`).then(
			({ ok }) => ok,
			() => false,
		);
		if (up) return;
		await setTimeout(500);
	}
	throw new Error(`${python} ${args.join(" ")}: expected a server, got\n${stderr}`);
}

const records: PreferenceRecord[] = [];
for await (const record of loadDataset("hpdv3:test/fixtures/hpdv3/pairs.json", { limit: 4, order: "random", seed: 1 }))
	records.push(record);

async function judge(model: Parameters<typeof generateCoT>[1], options: Parameters<typeof generateCoT>[2] = {}) {
	const said = [];
	for await (const rollout of generateCoT(records, model, { maxNewTokens: 24, promptTemplate: "{prompt}", ...options })) said.push(rollout);
	return said;
}
const openRemote = (options: Partial<RemoteModelOptions> = {}) =>
	remoteModel({ endpoints: ENDPOINT, model: MODEL, retries: 2, ...options });
const texts = (rollouts: Awaited<ReturnType<typeof judge>>) => rollouts.map(({ completion }) => completion);
const same = (a: string[], b: string[]) => `${a.filter((text, i) => text === b[i]).length} of ${a.length}`;

try {
	await untilUp();
	await using remote = openRemote();
	await using local = await loadModel(MODEL, { dtype: "float32" });
	const greedy = await judge(remote, { temperature: 0 });
	const generation = JSON.parse(await readFile(`${MODEL}/generation_config.json`, "utf8"));
	const here = await judge(local, { temperature: 0, repetitionPenalty: generation.repetition_penalty });
	for (const [i, { completion, numTokens, finishReason }] of greedy.entries()) {
		console.log(`record ${i}: ${finishReason}, ${numTokens} tokens (here ${here[i].finishReason}, ${here[i].numTokens})`);
		console.log(`  server: ${JSON.stringify(completion)}\n  here:   ${JSON.stringify(here[i].completion)}`);
	}
	console.log(`greedy, equal texts: ${same(texts(greedy), texts(here))}`);
	// The checkpoint's own top-k of 1 would leave nothing to draw.
	const free = JSON.stringify({ ...generation, top_k: 0, repetition_penalty: 1 });
	await using one = openRemote({ concurrency: 1, extraBody: { generation_config: free } });
	const sampled = [await judge(one, { samplesPerRecord: 2 }), await judge(one, { samplesPerRecord: 2 })];
	console.log(`temperature 1, one request at a time, twice, equal texts: ${same(texts(sampled[0]), texts(sampled[1]))}`);
	console.log(`of these, different texts: ${new Set(texts(sampled[0])).size} of ${sampled[0].length}`);
	await judge(remote, { topK: 5 }).then(
		() => console.log("top-k: taken"),
		(error: Error) => console.log(`top-k: ${error.message.replaceAll(`${PORT}`, "PORT")}`),
	);
} finally {
	server.kill();
}
