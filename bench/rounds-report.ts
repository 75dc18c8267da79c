/**
 * bench/rounds.ts' numbers as a plot and tables: bench/results/rounds.svg, bench/results/rounds.md, and the tables of docs/guide/rounds.md.
 *
 *     npx tsx bench/rounds-report.ts [--in bench/results/rounds.json] [--out bench/results]
 *
 * What is not there for every seed says for how many it is.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drawRounds } from "./rounds/plot.js";
import type { Measured, Results } from "./rounds/results.js";
import { bootstrap, type Interval, type Right, standardDeviation } from "./rounds/statistics.js";

const { values } = parseArgs({
	options: {
		in: { type: "string", default: fileURLToPath(new URL("results/rounds.json", import.meta.url)) },
		out: { type: "string", default: fileURLToPath(new URL("results", import.meta.url)) },
		guide: { type: "string", default: fileURLToPath(new URL("../docs/guide/rounds.md", import.meta.url)) },
	},
});
const { before, rounds, ablations } = JSON.parse(await readFile(values.in, "utf8")) as Results;
if (!before) throw new Error(`${values.in}: expected an evaluation of the first judge, got none; run bench/rounds.ts`);

const percent = (share: number) => (100 * share).toFixed(1);
const signed = (share: number) => `${share > 0 ? "+" : share < 0 ? "−" : ""}${percent(Math.abs(share))}`;
const range = ({ mean, ci }: Interval) => `${percent(mean)} [${ci.map(percent).join(", ")}]`;
const difference = ({ mean, ci }: Interval) => `${signed(mean)} [${ci.map(signed).join(", ")}]`;
const rightOf = (measured: readonly Measured[]): Right[] => measured.map(({ right }) => right);
const average = (measured: readonly Measured[], of: (one: Measured) => number) =>
	(measured.reduce((sum, one) => sum + of(one), 0) / measured.length).toFixed(0);
const spread = (measured: readonly Measured[]) => (measured.length > 1 ? percent(standardDeviation(rightOf(measured))) : "–");
const table = (head: string[], rows: string[][]) =>
	[head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

/** Seeds that both have: a difference is between the same seeds. */
function against(measured: readonly Measured[], reference: readonly Measured[]): string {
	const pairs = measured.flatMap((one) => reference.filter(({ seed }) => seed === one.seed).map((other) => [one, other]));
	return pairs.length === 0 ? "–" : difference(bootstrap(rightOf(pairs.map(([one]) => one)), rightOf(pairs.map(([, other]) => other))));
}

const last = Math.max(...rounds.map(({ round }) => round));
const byRound = Array.from({ length: last }, (_, i) => rounds.filter(({ round }) => round === i + 1));
const [recipe] = byRound;
const roundsTable = table(
	[
		"round",
		"seeds",
		"drawn",
		"conversations",
		"dev, %",
		"held out, % [95 %]",
		"SD of seeds",
		"against the round before",
		"says “Image 1”, %",
	],
	[
		["0", "–", "–", "–", "–", "–", range(bootstrap([before.right])), "–", "–", percent(before.saysImage1)],
		...byRound.map((of, i) => [
			...[
				`${i + 1}`,
				`${of.length}`,
				average(of, (one) => (one as (typeof of)[0]).drawn),
				average(of, ({ conversations }) => conversations),
			],
			average(of, ({ steps }) => steps),
			(of.reduce((sum, { devAccuracy }) => sum + 100 * devAccuracy, 0) / of.length).toFixed(1),
			...[range(bootstrap(rightOf(of))), spread(of)],
			i === 0
				? difference(
						bootstrap(
							rightOf(of),
							rightOf(of).map(() => before.right),
						),
					)
				: against(of, byRound[i - 1]),
			(of.reduce((sum, { saysImage1 }) => sum + 100 * saysImage1, 0) / of.length).toFixed(1),
		]),
	],
);

const row = (name: string, measured: readonly Measured[]) => [
	...[name, `${measured.length}`, average(measured, ({ conversations }) => conversations), average(measured, ({ steps }) => steps)],
	...[range(bootstrap(rightOf(measured))), spread(measured), measured === recipe ? "–" : against(measured, recipe)],
	(measured.reduce((sum, { saysImage1 }) => sum + 100 * saysImage1, 0) / measured.length).toFixed(1),
];
const names = [...new Set(ablations.map(({ name }) => name))];
const ablationsTable = table(
	["one round", "seeds", "conversations", "steps", "held out, % [95 %]", "SD of seeds", "against the recipe", "says “Image 1”, %"],
	[
		row("the recipe: 4 samples, both orders, both filters", recipe),
		...names.map((name) =>
			row(
				name,
				ablations.filter((a) => a.name === name),
			),
		),
	],
);

const whole = byRound[last - 1].map(({ seed }) => seed);
const svg = drawRounds({
	seeds: whole.map((seed) => ({
		seed,
		accuracy: [before.accuracy, ...byRound.map((of) => of.find((one) => one.seed === seed)?.accuracy ?? Number.NaN)],
	})),
	mean: [bootstrap([before.right]), ...byRound.map((of) => bootstrap(rightOf(of)))],
});
await writeFile(join(values.out, "rounds.svg"), svg);
const tables = `${roundsTable}\n\n${ablationsTable}`;
await writeFile(join(values.out, "rounds.md"), `${tables}\n`);
const [start, end] = ["<!-- bench:rounds, written by npx tsx bench/rounds-report.ts -->", "<!-- /bench:rounds -->"];
const guide = await readFile(values.guide, "utf8");
const [head, rest] = guide.split(start);
const tail = rest?.split(end)[1];
if (tail === undefined) throw new Error(`${values.guide}: expected ${start} and ${end}`);
await writeFile(values.guide, `${head}${start}\n${tables}\n${end}${tail}`);
console.log(tables);
