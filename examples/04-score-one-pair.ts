/**
 * One pair, one judgement: which of two images is better for a caption? Both shown orders are asked, since a judge may lean to one side.
 *
 *     npx tsx examples/04-score-one-pair.ts "two blue triangles on the left" a.png b.png [--judge examples/judge]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fillTemplate, judgeMessages, loadModel, parseJudgement, readPromptTemplate } from "../src/index.js";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { judge: { type: "string", default: "examples/judge" } } });
const [caption, first, second] = positionals;
if (!second) throw new Error('usage: 04-score-one-pair.ts "caption" IMAGE IMAGE');

await using judge = await loadModel(values.judge);
const question = fillTemplate(await readPromptTemplate(join(values.judge, "prompt.txt")), caption);
const orders = [
	[first, second],
	[second, first],
] as const;
const inputs = await judge.processor.encode(
	orders.map((images) => judgeMessages(images, question)),
	{ addGenerationPrompt: true },
);
const { texts } = await judge.generate(inputs, { maxNewTokens: 180 });

const votes = new Map([
	[first, 0],
	[second, 0],
]);
for (const [i, text] of texts.entries()) {
	const judgement = parseJudgement(text);
	console.log(`shown ${orders[i].join(", ")}:\n${text}\n`);
	if (!judgement.ok || judgement.winner === "tie") continue;
	const winner = orders[i][judgement.winner - 1];
	votes.set(winner, (votes.get(winner) ?? 0) + 1);
}
const [a, b] = [votes.get(first) ?? 0, votes.get(second) ?? 0];
console.log(a === b ? "no clear winner: the judge's answer depends on the order" : `better: ${a > b ? first : second}`);
