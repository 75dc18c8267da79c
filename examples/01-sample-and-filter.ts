/**
 * Samples judgements over a preference data set and keeps the right ones.
 *
 *     npx tsx examples/01-sample-and-filter.ts [--limit 8] [--output_path out/01] [--judge examples/judge] [--data hpdv3:examples/data/train.json]
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
	formatStats,
	generateCoT,
	loadDataset,
	loadModel,
	readPromptTemplate,
	rejectFiltered,
	writeJsonArray,
	writeJsonLines,
} from "../src/index.js";

const { values } = parseArgs({
	options: {
		limit: { type: "string", default: "8" },
		output_path: { type: "string", default: "out/01" },
		judge: { type: "string", default: "examples/judge" },
		data: { type: "string", default: "hpdv3:examples/data/train.json" },
	},
});
await using judge = await loadModel(values.judge);
console.log(judge.backendReason);

const records = loadDataset(values.data, { order: "both", limit: Number(values.limit) });
const rollouts = generateCoT(records, judge, {
	samplesPerRecord: 4, // in each of both shown orders
	maxNewTokens: 180,
	promptTemplate: await readPromptTemplate(join(values.judge, "prompt.txt")),
	onProgress: ({ done, tokensPerSecond }) => process.stderr.write(`\r${done} judgements, ${tokensPerSecond.toFixed(0)} tokens/s `),
});

await mkdir(values.output_path, { recursive: true });
await writeJsonLines(join(values.output_path, "rejected_samples.jsonl"), async (onRejected) => {
	const accepted = rejectFiltered(rollouts, { onRejected });
	await writeJsonArray(join(values.output_path, "filtered_samples.json"), accepted);
	await writeFile(join(values.output_path, "filtered_samples_stats.txt"), formatStats(accepted.stats));
	console.log(`\n${formatStats(accepted.stats)}`);
});
