/**
 * Speed and memory of the model, and of transformers + PyTorch in the same session: the same shapes, threads and dtype, runs alternating.
 *
 *     npm run bench                                       this library alone
 *     npm run bench -- --peer bench/.venv/bin/python      and the Python peer, with ratios
 *     (the peer: python3 -m venv bench/.venv && bench/.venv/bin/pip install torch torchvision transformers safetensors pillow scikit-image accelerate)
 *     options: --configs small,medium   --rounds 2   --jobs generate,train,train_gc   --out bench/results/speed.json
 *
 * train_gc is training with gradient checkpointing. Weights are random; prompts are two 280 × 280 images and text, 300 tokens to generate from and 500 to train on (batch 4, the last 150 labelled).
 * Each job has a process of its own, so that its peak memory is its own. Minima are compared: these machines are noisy.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os, { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { type EncodedConversation, initModel, type ModelInputs, Trainer } from "../src/index.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { values } = parseArgs({
	options: {
		peer: { type: "string" },
		configs: { type: "string", default: "small" },
		rounds: { type: "string", default: "2" },
		jobs: { type: "string", default: "generate,train,train_gc" },
		out: { type: "string", default: here("results/speed.json") },
		job: { type: "string" },
	},
});

/** Seconds (or GiB), least and middle of several. */
interface Measured {
	min: number;
	median: number;
}
type Measurements = Record<string, Measured>;

const measured = (samples: number[]): Measured => {
	const sorted = [...samples].sort((a, b) => a - b);
	return { min: sorted[0], median: sorted[Math.floor(sorted.length / 2)] };
};
const now = () => performance.now() / 1000;

async function openModel(config: string) {
	const dir = await mkdtemp(join(tmpdir(), "rft-speed-"));
	const json = JSON.parse(await readFile(here(`peer/configs/${config}.json`), "utf8"));
	await writeFile(join(dir, "config.json"), JSON.stringify({ ...json, eos_token_id: 1 }));
	const model = await initModel(dir, { processorDir: here("../examples/judge"), backend: "native-cpu" });
	await rm(dir, { recursive: true });
	return { model, vocabulary: json.text_config.vocab_size as number };
}

/** Two images of 100 tokens each and `text` other tokens, as the peer makes them. */
function prompt(vocabulary: number, text: number): EncodedConversation {
	const ids: number[] = [];
	const words = (n: number) => {
		for (let i = 0; i < n; i++) ids.push(10 + ((ids.length * 7919) % (vocabulary - 400)));
	};
	const head = Math.floor((text - 4) / 3);
	for (let image = 0; image < 2; image++) {
		words(head);
		ids.push(vocabulary - 4, ...new Array<number>(100).fill(vocabulary - 2), vocabulary - 3);
	}
	words(text - 4 - 2 * head);
	const picture = () => ({
		pixelValues: { data: Float32Array.from({ length: 400 * 1176 }, () => Math.random() - 0.5), shape: [400, 1176] as [number, number] },
		gridThw: [1, 20, 20] as [number, number, number],
	});
	const assistantMask = Uint8Array.from(ids, (_, i) => (i >= ids.length - 150 ? 1 : 0));
	return { inputIds: Int32Array.from(ids), assistantMask, images: [picture(), picture()] };
}

async function generateJob(config: string): Promise<Measurements> {
	const { model, vocabulary } = await openModel(config);
	const results: Measurements = {};
	for (const batch of [1, 8]) {
		const inputs: ModelInputs = model.processor.collate(new Array<EncodedConversation>(batch).fill(prompt(vocabulary, 100)));
		const time = async (maxNewTokens: number) => {
			const started = now();
			await model.generate(inputs, { maxNewTokens, eosTokenIds: [] });
			return now() - started;
		};
		await time(2); // warm-up
		const [prefill, decode]: [number[], number[]] = [[], []];
		for (let i = 0; i < 3; i++) {
			prefill.push(await time(1));
			decode.push(((await time(33)) - prefill[i]) / 32);
		}
		results[`prefill_b${batch}_s`] = measured(prefill);
		results[`decode_b${batch}_s`] = measured(decode);
	}
	return results;
}

async function trainJob(config: string, gradientCheckpointing: boolean): Promise<Measurements> {
	const { model, vocabulary } = await openModel(config);
	const encoded = prompt(vocabulary, 300);
	const seconds: number[] = [];
	let last = now();
	const trainer = new Trainer(model, {
		...{ trainBatchSize: 4, microTrainBatchSize: 4, maxEpochs: 5, learningRate: 1e-5, gradientCheckpointing },
		onEvent: (event) => {
			if (event.type !== "step") return;
			seconds.push(now() - last);
			last = now();
		},
	});
	await trainer.fit(Array.from({ length: 4 }, () => ({ encoded })));
	return { step_s: measured(seconds.slice(1)) };
}

/** One of our jobs, in its own process. */
function runOurs(job: string): Measurements {
	const child = spawnSync(process.execPath, ["--import", "tsx", fileURLToPath(import.meta.url), "--job", job], { encoding: "utf8" });
	if (child.status !== 0) throw new Error(`${job}: ${child.stderr.slice(-2000)}`);
	return JSON.parse(child.stdout.split("\n").filter(Boolean).at(-1) as string);
}

/** The peer's job of the same name. */
function runPeer(python: string, [kind, config]: string[]): Measurements {
	const job = kind === "generate" ? `generate/${config}/float32` : `train/${config}/float32/${kind === "train_gc" ? "gc" : "nogc"}`;
	const args = [here("peer/peer_speed.py"), "--out", tmpdir(), "--threads", String(os.cpus().length), "--configs", config, "--job", job];
	const child = spawnSync(python, args, {
		encoding: "utf8",
		env: { ...process.env, OMP_NUM_THREADS: String(os.cpus().length), HF_HUB_OFFLINE: "1" },
	});
	const line = child.stdout?.split("\n").find((text) => text.startsWith("RESULT "));
	if (!line) throw new Error(`peer, ${job}: ${child.error ?? child.stderr}`);
	const result = JSON.parse(line.slice("RESULT ".length));
	const memory = { peak_GiB: { min: result.peak_rss_gib, median: result.peak_rss_gib } };
	if (kind !== "generate") return { step_s: result.step_s, ...memory };
	return {
		...Object.fromEntries(["prefill_b1_s", "decode_b1_s", "prefill_b8_s", "decode_b8_s"].map((key) => [key, result[key]])),
		...memory,
	};
}

/** Least of the minima, and middle of the medians, over rounds. */
function merge(rounds: Measurements[]): Measurements {
	const middle = (xs: number[]) => measured(xs).median;
	return Object.fromEntries(
		Object.keys(rounds[0]).map((key) => [
			key,
			{ min: Math.min(...rounds.map((r) => r[key].min)), median: middle(rounds.map((r) => r[key].median)) },
		]),
	);
}

function compare(): void {
	const python = values.peer;
	const results: Record<string, { ours: Measurements; peer?: Measurements }> = {};
	const table = new Table({ head: ["float32", "tfjs-rft", "peer", "peer / tfjs-rft"], style: { head: [], border: [] } });
	for (const config of values.configs.split(",")) {
		for (const kind of values.jobs.split(",")) {
			const ours: Measurements[] = [];
			const peer: Measurements[] = [];
			for (let round = 0; round < Number(values.rounds); round++) {
				ours.push(runOurs(`${kind}/${config}`));
				if (python) peer.push(runPeer(python, [kind, config]));
			}
			const result = { ours: merge(ours), peer: python ? merge(peer) : undefined };
			results[`${kind}/${config}`] = result;
			for (const [key, { min }] of Object.entries(result.ours)) {
				const other = result.peer?.[key]?.min;
				table.push([`${config}, ${kind}: ${key}`, min.toFixed(4), other?.toFixed(4) ?? "", other ? (other / min).toFixed(2) : ""]);
			}
		}
	}
	const peerVersions = python
		? execFileSync(
				python,
				["-c", "import torch, transformers; print('torch', torch.__version__, 'transformers', transformers.__version__)"],
				{ encoding: "utf8" },
			).trim()
		: undefined;
	const machine = `${os.cpus().length} × ${os.cpus()[0].model}, Node ${process.version}`;
	console.log(table.toString());
	mkdirSync(dirname(values.out), { recursive: true });
	writeFileSync(
		values.out,
		`${JSON.stringify({ machine, peer: peerVersions, dtype: "float32", rounds: Number(values.rounds), results }, null, "\t")}\n`,
	);
}

if (values.job) {
	const [kind, config] = values.job.split("/");
	const measurements = await (kind === "generate" ? generateJob(config) : trainJob(config, kind === "train_gc"));
	const peak = process.resourceUsage().maxRSS / 2 ** 20;
	console.log(JSON.stringify({ ...measurements, peak_GiB: { min: peak, median: peak } }));
} else compare();
