/**
 * What training costs on a frozen base in each type beside training all of it: peak memory of the process and time per step, text only, batch 4.
 *
 *     npx tsx bench/lora.ts CHECKPOINT [STEPS]
 *
 * Each way is a process of its own, in turn. Sampling is measured with the adapter beside the base and without it.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type LoadModelOptions, loadModel, Trainer } from "../src/index.js";

const lora = { rank: 8, targetModules: ".*language_model.*_proj" };
const WAYS: Readonly<Record<string, LoadModelOptions>> = {
	"all, float32": { dtype: "float32" },
	"all, bfloat16 products": { dtype: "bfloat16", trainable: true },
	"LoRA on float32": { dtype: "float32", lora },
	"LoRA on bfloat16": { dtype: "bfloat16", trainable: true, lora },
	"LoRA on int8": { dtype: "int8", trainable: true, lora },
};
const MIB = 1024;

const [dir, steps = "4", way] = process.argv.slice(2);
if (!dir) throw new Error("usage: lora.ts CHECKPOINT [STEPS]");
if (way === undefined) {
	console.log("| | loaded, MiB | peak, MiB | s/step, least of | decode step of 8 rows, ms, least |\n|---|---|---|---|---|");
	for (const name of Object.keys(WAYS)) {
		const args = ["--import", "tsx", fileURLToPath(import.meta.url), dir, steps, name];
		process.stdout.write(execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
	}
} else await measure(dir, way, Number(steps));

async function measure(dir: string, way: string, steps: number): Promise<void> {
	await using model = await loadModel(dir, { backend: "native-cpu", ...WAYS[way] });
	const loaded = process.memoryUsage().rss;
	const text = Array.from({ length: 200 }, (_, i) => `w${i}`).join(" ");
	const rows = Array.from({ length: 4 * steps }, (_, i) => ({
		messages: [
			{ role: "user" as const, content: `${i} ${text.slice(0, 400)}` },
			{ role: "assistant" as const, content: text.slice(0, 300) },
		],
	}));
	const seconds: number[] = [];
	const { history } = await new Trainer(model, {
		...{ trainBatchSize: 4, microTrainBatchSize: 4, maxEpochs: 1, learningRate: 1e-4, gradientCheckpointing: true },
		onEvent: (event) => event.type === "step" && seconds.push(event.tokens / event.tokensPerSecond),
	}).fit(rows);
	const peak = process.resourceUsage().maxRSS / MIB;
	const decode = await decodeStep(model);
	const cells = [loaded / MIB / MIB, peak].map((n) => n.toFixed(0));
	console.log(
		`| ${way} | ${cells.join(" | ")} | ${Math.min(...seconds.slice(1)).toFixed(2)} of ${steps - 1} (${history[0].tokens} tokens) | ${decode.toFixed(1)} |`,
	);
}

async function decodeStep(model: Awaited<ReturnType<typeof loadModel>>): Promise<number> {
	const question = [{ role: "user" as const, content: "count" }];
	const batch = await model.processor.encode(
		Array.from({ length: 8 }, () => question),
		{ addGenerationPrompt: true },
	);
	let least = Number.POSITIVE_INFINITY;
	for (let run = 0; run < 3; run++) {
		let last = performance.now();
		await model.generate(batch, {
			...{ maxNewTokens: 24, temperature: 0, eosTokenIds: [] },
			onStep: () => {
				const now = performance.now();
				least = Math.min(least, now - last);
				last = now;
			},
		});
	}
	return least;
}
