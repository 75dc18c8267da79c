/**
 * The loop, and what its parts are worth, on the demo's data: accuracy by round, and ablations of the first round.
 *
 *     npx tsx bench/rounds.ts [--seeds 0,1,2] [--rounds 3] [--limit PAIRS] [--only rounds|ablations] [--work DIR] [--out bench/results/rounds.json]
 *     npx tsx bench/rounds-report.ts
 *
 * A fifth of the training captions is the dev set; the held-out pairs choose nothing. Every ablation takes the first round's judgements and changes one thing.
 * Results are written as they come; the same command goes on from DIR.
 */
import { readFile } from "node:fs/promises";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
	cap,
	correct,
	gatherByRecord,
	planSamples,
	type Rollout,
	type RolloutFilter,
	type RoundOutcome,
	type RoundTask,
	readJournalRollouts,
	runRounds,
	scoresAgree,
	swapConsistent,
	wellFormed,
	writeText,
} from "../src/index.js";
import { CAP, devPairs, fineTune, heldOutPairs, JUDGE, keep, SAMPLES, sample, score, trainPairs } from "./rounds/recipe.js";
import type { Results } from "./rounds/results.js";

const { values } = parseArgs({
	options: {
		seeds: { type: "string", default: "0,1,2" },
		rounds: { type: "string", default: "3" },
		limit: { type: "string" },
		only: { type: "string" },
		work: { type: "string", default: join(os.tmpdir(), "tfjs-rft-bench-rounds") },
		out: { type: "string", default: fileURLToPath(new URL("results/rounds.json", import.meta.url)) },
	},
});
const limit = values.limit === undefined ? undefined : Number(values.limit);
const log = (line: string) => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);

const results: Results = await readFile(values.out, "utf8").then(
	(text) => JSON.parse(text) as Results,
	() => ({ machine: `${os.cpus().length} × ${os.cpus()[0].model}, Node ${process.version}, shared`, rounds: [], ablations: [] }),
);
const save = () => writeText(values.out, `${JSON.stringify(results, null, "\t")}\n`);

const answers = [wellFormed(), correct()];
const capped = cap(CAP, { per: "order" });
const RECIPE = [...answers, scoresAgree(), swapConsistent(), capped];
/** One thing changed at a time. The stored order shows the preferred image first, and gives a pair as many conversations in one order as the recipe does in two. */
const ABLATIONS: Record<string, { filters: RolloutFilter[]; of?: (rollout: Rollout) => boolean }> = {
	"one sample": { filters: RECIPE, of: ({ sampleIndex }) => sampleIndex === 0 },
	"stored order": { filters: [...answers, scoresAgree(), cap(2 * CAP)], of: ({ record }) => record.order[0] === 0 },
	"without the score filter": { filters: [...answers, swapConsistent(), capped] },
	"without the swap filter": { filters: [...answers, scoresAgree(), capped] },
	"without both filters": { filters: [...answers, capped] },
};

const journalOf = (folder: string) => join(folder, "journal.jsonl");

function playRound(seed: number) {
	return async ({ round, folder, sampleWith, trainFrom, earlier }: RoundTask): Promise<RoundOutcome> => {
		const plan = await planSamples(
			earlier.filter((r) => r.round > 0).map((r) => journalOf(r.folder)),
			{ samplesPerRecord: SAMPLES },
		);
		let drawn = 0;
		async function* judgements() {
			const options = { samplesPerRecord: plan.samplesOf, seed: 1000 * round + seed };
			for await (const rollout of sample(sampleWith, trainPairs(seed, limit), journalOf(folder), options)) {
				drawn++;
				yield rollout;
			}
			yield* plan.carried();
		}
		const kept = await keep(judgements(), RECIPE);
		const checkpoint = join(folder, "checkpoint");
		const { steps } = await fineTune(trainFrom, kept, checkpoint, seed);
		const dev = await score(checkpoint, devPairs(seed, limit));
		const heldOut = await score(checkpoint, heldOutPairs(limit));
		const facts = { seed, round, conversations: kept.length, steps, drawn, pairs: plan.pairs, devAccuracy: dev.accuracy, ...heldOut };
		return { checkpoint, accuracy: dev.accuracy, facts };
	};
}

async function measureRounds(seed: number): Promise<void> {
	const folder = join(values.work, `seed-${seed}`);
	// Every round is wanted for the curve: none ends the loop.
	const options = { folder, rounds: Number(values.rounds), patience: Number(values.rounds) };
	for await (const { round, facts, isBest } of runRounds(JUDGE, playRound(seed), options)) {
		const measured = facts as Results["rounds"][number];
		results.rounds = [...results.rounds.filter((r) => r.seed !== seed || r.round !== round), measured];
		await save();
		const { accuracy, devAccuracy, drawn, conversations } = measured;
		log(
			`seed ${seed}, round ${round}: ${accuracy} held out, ${devAccuracy} dev${isBest ? ", best" : ""}; ${drawn} drawn, ${conversations} kept`,
		);
	}
}

async function measureAblation(name: string, seed: number): Promise<void> {
	if (results.ablations.some((a) => a.seed === seed && a.name === name)) return;
	const { filters, of = () => true } = ABLATIONS[name];
	const folder = join(values.work, `seed-${seed}`);
	async function* chosen() {
		const rollouts = gatherByRecord(() => readJournalRollouts(journalOf(join(folder, "round-1"))));
		for await (const rollout of rollouts) if (of(rollout)) yield rollout;
	}
	const kept = await keep(chosen(), filters);
	const checkpoint = join(folder, name.replaceAll(" ", "-"));
	const { steps } = await fineTune(JUDGE, kept, checkpoint, seed);
	const measured = { name, seed, conversations: kept.length, steps, ...(await score(checkpoint, heldOutPairs(limit))) };
	results.ablations.push(measured);
	await save();
	log(`seed ${seed}, ${name}: ${measured.accuracy} held out; ${kept.length} kept`);
}

const seeds = values.seeds.split(",").map(Number);
results.before ??= await score(JUDGE, heldOutPairs(limit));
log(`before: ${results.before.accuracy}`);
if (values.only !== "ablations") for (const seed of seeds) await measureRounds(seed);
if (values.only !== "rounds") for (const name of Object.keys(ABLATIONS)) for (const seed of seeds) await measureAblation(name, seed);
