/** The distance to what the machine could do at best: bench/limits.ts' measurements beside the jobs'. */
import { MATMUL_FLOPS, READ_BYTES, type Work, workOf } from "../limits.js";
import type { Results } from "./results-file.js";
import type { Measurements } from "./samples.js";
import { CONFIGS, PROMPTS } from "./settings.js";

const BYTES = { float32: 4, bfloat16: 2, int8: 1 };

/** One line per resource; none where `limits` was not measured. */
export function limitLines({ jobs }: Results): string[] {
	const limits = jobs.limits?.ours;
	if (!limits) return [];
	const bandwidth = READ_BYTES / limits.read_1GiB_s.min;
	const peaks = { float32: MATMUL_FLOPS / limits.matmul_1024_float32_s.min, bfloat16: MATMUL_FLOPS / limits.matmul_1024_bfloat16_s.min };
	const share = (part: number, whole: number) => `${Math.round((100 * part) / whole)} %`;
	const [reading, computing]: [string[], string[]] = [[], []];
	for (const config of CONFIGS) {
		const work = workOf(config);
		for (const [dtype, bytes] of Object.entries(BYTES)) {
			const generate = jobs[`generate/${config}/${dtype}`];
			if (generate)
				reading.push(`${config} ${dtype} ${sides(generate, (m) => share((work.decodeWeights * bytes) / m.decode_b1_s.min, bandwidth))}`);
		}
		for (const [dtype, peak] of Object.entries(peaks)) {
			for (const [what, kind, seconds, flops] of phases(work)) {
				const job = jobs[`${kind}/${config}/${dtype}`];
				if (job) computing.push(`${what} ${config} ${dtype} ${sides(job, (m) => share(flops / m[seconds].min, peak))}`);
			}
		}
	}
	const giga = (x: number) => (x / 1e9).toFixed(0);
	return [
		`Distance to the limit. Memory reads at ${giga(bandwidth)} GB/s (1 GiB summed); of that, a one-row decode step reads its weights at ${reading.join(", ") || "(not measured)"}.`,
		`A 1024³ product runs at ${giga(peaks.float32)} GFLOPS in float32 and ${giga(peaks.bfloat16)} in bfloat16; of that, useful work (no recomputation, logits of labelled tokens only): ${computing.join(", ") || "(not measured)"}.`,
	];
}

const phases = ({ prefillFlops, trainFlops }: Work): [string, string, string, number][] => [
	[`prefill of ${PROMPTS}`, "generate", `prefill_b${PROMPTS}_s`, PROMPTS * prefillFlops],
	["training", "train", "step_s", trainFlops],
];

/** Ours, and the peer's in brackets. */
function sides({ ours, peer }: { ours: Measurements; peer?: Measurements }, share: (side: Measurements) => string): string {
	return peer ? `${share(ours)} (peer ${share(peer)})` : share(ours);
}
