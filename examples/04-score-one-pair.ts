/**
 * One pair, one reward: how likely a judge finds each of two images the better one for a caption. Both shown orders are asked and averaged, since a judge may lean to
 * one side. `--no-reasoning` asks for the answer at once: a tenth of the time, and less to go by.
 *
 *     npx tsx examples/04-score-one-pair.ts "two blue triangles on the left" a.png b.png [--judge examples/judge]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel, readPromptTemplate, scorePair } from "../src/index.js";

const { values, positionals } = parseArgs({
	allowPositionals: true,
	allowNegative: true,
	options: { judge: { type: "string", default: "examples/judge" }, reasoning: { type: "boolean", default: true } },
});
const [caption, first, second] = positionals;
if (!second) throw new Error('usage: 04-score-one-pair.ts "caption" IMAGE IMAGE');

await using judge = await loadModel(values.judge);
const promptTemplate = await readPromptTemplate(join(values.judge, "prompt.txt"));
const { probabilities, orders } = await scorePair(
	judge,
	{ prompt: caption, images: [first, second] },
	{ useCot: values.reasoning, promptTemplate, maxNewTokens: 180 },
);

for (const { order, completion, image1 } of orders) {
	console.log(`shown ${order.map((i) => [first, second][i]).join(", ")}: P(Image 1) = ${image1.toFixed(3)}`);
	if (completion !== undefined) console.log(`${completion}\n`);
}
const lead = probabilities[0] - probabilities[1];
const better = Math.abs(lead) < 0.1 ? "no clear winner" : `better: ${lead > 0 ? first : second}`;
console.log(`${first}: ${probabilities[0].toFixed(3)}, ${second}: ${probabilities[1].toFixed(3)}; ${better}`);
