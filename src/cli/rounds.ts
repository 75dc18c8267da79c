/** `run --rounds`: the work of `run` again and again, each time with the newest judge, in a folder of its own. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type Evaluation, inDevShare, type PreferenceRecord, planSamples, type RoundResult, type RoundTask, runRounds } from "../index.js";
import { evaluationTable, scoreHeldOut } from "./held-out.js";
import { askingOptions, type Improved, improveJudge } from "./improve.js";
import { openJudge } from "./open-judge.js";
import type { RunOptions } from "./options.js";
import { claimOutputs, journalFile } from "./outputs.js";
import { chooseQuestion } from "./question.js";
import { dataFiles, surveyHeldOut, surveyRecords } from "./records.js";
import type { Session } from "./session.js";

/** What a round's numbers don't depend on: these may change before it is gone on. */
const INDIFFERENT = [
	"output_path",
	"rounds",
	"patience",
	"overwrite",
	"force_new",
	"gallery_size",
	"gallery_seed",
	"logging_steps",
	"log_judgements",
];

/** @throws RoundError for a folder of rounds with other options; otherwise as improveJudge does */
export async function improveInRounds(options: RunOptions, session: Session): Promise<void> {
	const { rounds, patience, train_from: trainFrom, output_path: folder, model_path: first, dev_share } = options;
	const { signal } = session;
	const sources = [...options.data_path, ...(options.eval_data_path ?? [])];
	await claimOutputs([join(folder, "best")], [first, ...dataFiles(sources)], true);
	if (options.overwrite) await forgetRounds(folder, rounds);
	const only = (record: PreferenceRecord) => inDevShare(record, dev_share, options.seed);
	const dev = await surveyRecords({ ...options, orders: "both", shuffle_buffer: 0 }, session, { only });
	session.note(`dev set: ${dev.count} judgements of pairs that are not trained on`);

	const evaluateFirst = async () => {
		const heldOut = await surveyHeldOut(options, session);
		const question = await chooseQuestion(options, first, session);
		await using judge = await openJudge(first, options, session);
		const score = (records: typeof dev, name: string) => scoreHeldOut(judge, records, question, askingOptions(options), name, session);
		return outcomeOf({ dev: await score(dev, "dev pairs"), after: heldOut && (await score(heldOut, "first judge")) });
	};
	const playRound = async ({ round, folder: own, sampleWith, trainFrom: base, earlier }: RoundTask) => {
		session.note(`round ${round}: sampling with ${sampleWith}, training ${base}`);
		const before = factsOf(earlier[0]).after;
		const plan = await planRound(options, earlier, session);
		const ofRound = { ...options, output_path: own, model_path: sampleWith, seed: options.seed + round - 1 };
		const improved = await improveJudge(ofRound, session, { trainFrom: base, plan, before, dev, only: (record) => !only(record) });
		return { checkpoint: join(own, "checkpoint"), ...outcomeOf(improved) };
	};
	const played: RoundResult[] = [];
	for await (const result of runRounds(first, playRound, {
		...{ folder, rounds, patience, trainFrom, evaluateFirst, signal },
		settings: settingsOf(options),
	})) {
		played.push(result);
		session.print(
			`round ${result.round}: ${(100 * result.accuracy).toFixed(1)} % of the dev pairs${result.isBest ? ", the best so far" : ""}`,
		);
	}
	session.print(summary(played, folder));
}

/** The first round asks all alike; a later one as the rounds before advise. */
async function planRound(options: RunOptions, earlier: readonly RoundResult[], { note }: Session) {
	const { samples_per_record: samplesPerRecord, max_samples_per_record, use_cot: useCot, temperature } = options;
	const maxSamplesPerRecord = temperature === 0 ? samplesPerRecord : max_samples_per_record; // greedy: more would be equal
	const journals = earlier.filter(({ round }) => round > 0).map(({ folder }) => journalFile(folder));
	const plan = await planSamples(options.sample_budget === "even" ? [] : journals, { samplesPerRecord, maxSamplesPerRecord, useCot });
	const { skipped, more, same } = plan.pairs;
	if (skipped + more + same > 0)
		note(`${skipped} pairs were always right and are not asked again, ${more} are asked more often, ${same} as before`);
	return plan;
}

const factsOf = (result: RoundResult) => result.facts as Improved & { dev: Evaluation };

function outcomeOf({ dev, after }: Improved) {
	if (dev === undefined) throw new Error("a round was not evaluated on the dev pairs");
	return { accuracy: dev.accuracy, facts: { dev, after } satisfies Improved };
}

function settingsOf(options: RunOptions): Record<string, unknown> {
	return Object.fromEntries(Object.entries(options).filter(([name]) => !INDIFFERENT.includes(name)));
}

/** Their files are written over one by one; their journals stay, as `run --overwrite` keeps them. */
async function forgetRounds(folder: string, rounds: number): Promise<void> {
	for (let round = 0; round <= rounds; round++) await rm(join(folder, `round-${round}`, "round.json"), { force: true });
	await rm(join(folder, "best"), { force: true });
}

function summary(played: readonly RoundResult[], folder: string): string {
	const best = played.findLast(({ isBest }) => isBest);
	const columns = (which: keyof Improved) =>
		Object.fromEntries(played.flatMap((result) => (factsOf(result)[which] ? [[`round ${result.round}`, factsOf(result)[which]]] : [])));
	const heldOut = columns("after") as Record<string, Evaluation>;
	return [
		"dev pairs, which the best round is chosen by:",
		evaluationTable(columns("dev") as Record<string, Evaluation>),
		...(Object.keys(heldOut).length > 0 ? ["held-out pairs, which choose nothing:", evaluationTable(heldOut)] : []),
		`best: round ${best?.round}, ${join(folder, "best")}`,
	].join("\n");
}
