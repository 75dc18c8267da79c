/** The page's sections above the gallery: numbers in front, plots, and the table behind each plot. */

import type { RowCounts } from "../dataset/bad-rows.js";
import type { Calibration } from "../reward/calibration.js";
import type { StatsBreakdown } from "../reward/stats-breakdown.js";
import { type Proportion, proportion } from "../reward/wilson-interval.js";
import type { ReportData } from "./collect-report.js";
import { type Html, html } from "./html.js";
import { interval, number, percent } from "./number.js";
import {
	type Bin,
	type FunnelStep,
	funnelPlot,
	histogramPlot,
	intervalPlot,
	lengthBins,
	passRateBins,
	reliabilityPlot,
	type Share,
	shiftPlot,
} from "./plots.js";
import type { ReportFacts } from "./write-report.js";

const share = ({ value }: Proportion) => percent(value);

export function tiles({ total, kept, records, recordsKept, judgements }: ReportData, { evaluations = {} }: ReportFacts): Html {
	const held = Object.entries(evaluations).map(([when, { accuracy, ci }]) =>
		tile(percent(accuracy), `held-out accuracy ${when}`, `95 %: ${(100 * ci[0]).toFixed(1)}–${(100 * ci[1]).toFixed(1)} %`),
	);
	return html`<div class="tiles">${[
		...held,
		tile(number(total), "judgements", `of ${number(records)} pairs`),
		tile(share(judgements.accuracy), "right, of those that name a winner", `95 %: ${interval(judgements.accuracy)}`),
		tile(share(judgements.saysImage1), "say “Image 1”", `95 %: ${interval(judgements.saysImage1)}`),
		tile(number(kept), "kept", `${percent(kept / total)}, of ${number(recordsKept)} pairs`),
	]}</div>`;
}

const tile = (value: string, name: string, detail: string) =>
	html`<div class="tile"><b>${value}</b><span>${name}</span><span>${detail}</span></div>`;

export function yieldSection(data: ReportData, { input, exported = {} }: ReportFacts): Html {
	const steps = funnelSteps(data);
	const source = [input && `${number(input.rows)} rows`, `${number(data.records)} pairs`, `${number(data.total)} judgements`].filter(
		Boolean,
	);
	const files = Object.entries(exported);
	const out = files.length === 0 ? undefined : ` Exported: ${files.map(([file, rows]) => `${number(rows)} rows in ${file}`).join(", ")}.`;
	return html`<div class="grid">
${input && (input.rows > input.records || input.ties > 0) && inputFigure(input)}
${figure(
	"What each filter leaves",
	`${source.join(" → ")} → ${number(data.kept)} kept.${out ?? ""}`,
	funnelPlot(steps, "judgements"),
	funnelTable(steps, "judgements", "turned away"),
)}
${figure(
	"Outcomes",
	"What the judge’s texts came to, before any filter.",
	intervalPlot(outcomeShares(data), "Outcomes"),
	tableHtml(
		["outcome", "judgements", "share"],
		Object.entries(data.judgements.outcomes).map(([name, count]) => [name, number(count), percent(count / data.total)]),
	),
)}
</div>`;
}

/** From the rows of the data to the pairs that a judge was asked about: what was put aside, by kind. */
function inputFigure({ rows, records, bad, ties }: RowCounts): Html {
	let left = rows;
	const kinds = Object.entries(bad).map(([name, count]) => {
		left -= count;
		return { name, count: left };
	});
	const steps = [{ name: "rows read", count: rows }, ...kinds, { name: "pairs", count: records }];
	const tied = ties > 0 ? ` Besides, ${number(ties)} without a preference (ties).` : "";
	return figure(
		"What the data holds",
		`${number(rows)} rows, of which ${number(rows - records)} were put aside as bad → ${number(records)} pairs.${tied}`,
		funnelPlot(steps, "rows"),
		funnelTable(steps, "rows", "put aside"),
	);
}

function funnelTable(steps: readonly FunnelStep[], unit: string, lost: string): Html {
	return tableHtml(
		["left after", unit, lost],
		steps.map(({ name, count }, i) => [name, number(count), i === 0 ? "" : number(steps[i - 1].count - count)]),
	);
}

/** What is left after each filter, in the order in which they are asked. */
function funnelSteps({ total, kept, rejected }: ReportData): FunnelStep[] {
	let left = total;
	const steps = Object.entries(rejected).map(([name, count]) => {
		left -= count;
		return { name, count: left };
	});
	return [{ name: "generated", count: total }, ...steps, { name: "kept", count: kept }];
}

function outcomeShares({ judgements: { outcomes }, total }: ReportData): Share[] {
	return Object.entries(outcomes)
		.filter(([, count]) => count > 0)
		.map(([name, count]) => ({ name, share: proportion(count, total), colour: name === "accepted" ? "var(--after)" : "var(--bad)" }));
}

export function judgeSection(
	{ judgements: { accuracy, preferredShown, saysImage1 } }: ReportData,
	{ evaluations = {} }: ReportFacts,
): Html {
	const shares: Share[] = [
		{ name: "accuracy", share: accuracy },
		{ name: "preferred shown first", share: preferredShown.first.accuracy },
		{ name: "preferred shown second", share: preferredShown.second.accuracy },
		{ name: "says “Image 1”", share: saysImage1, colour: "var(--muted)" },
	];
	const held = Object.entries(evaluations).flatMap(([when, evaluation], i): Share[] => {
		const colour = i === 0 ? "var(--kept)" : "var(--after)";
		const said = evaluation.perOrder.preferredFirst.accuracy.of + evaluation.perOrder.preferredSecond.accuracy.of;
		return [
			{ name: `${when}: accuracy`, share: { count: 0, of: evaluation.n, value: evaluation.accuracy, interval: evaluation.ci }, colour },
			{ name: `${when}: preferred first`, share: evaluation.perOrder.preferredFirst.accuracy, colour },
			{ name: `${when}: preferred second`, share: evaluation.perOrder.preferredSecond.accuracy, colour },
			{ name: `${when}: says “Image 1”`, share: proportion(Math.round(evaluation.saysImage1 * said), said), colour: "var(--muted)" },
		];
	});
	const rows = (of: Share[]) =>
		tableHtml(
			["", "share", "95 % interval"],
			of.map(({ name, share: part }) => [name, share(part), interval(part)]),
		);
	return html`<div class="grid">
${figure("Accuracy and position bias while sampling", "Of judgements that name a winner, with Wilson’s 95 % intervals. Without bias both positions are equally right, and “Image 1” is said as often as it is right.", intervalPlot(shares, "Accuracy and position bias"), rows(shares))}
${held.length > 0 && figure("On held-out pairs", "Greedy, each pair in both orders. All generated judgements count, also those without a winner.", intervalPlot(held, "Held-out accuracy"), rows(held))}
</div>`;
}

export function pairSection({ passRates, lengths }: ReportData): Html {
	const [rates, tokens] = [passRateBins(passRates), lengths.size === 0 ? [] : lengthBins(lengths)];
	return html`<div class="grid">
${figure("How often a pair is judged right", "Pairs by their pass rate; in front those of which something is kept.", histogramPlot(rates, { axis: "right, of a pair’s judgements", unit: "pairs" }), binTable("pass rate", rates))}
${figure("Length", "Judgements by generated tokens.", histogramPlot(tokens, { axis: "tokens, from", unit: "judgements" }), binTable("tokens, from", tokens))}
</div>`;
}

/** Nothing where no judgement was scored. */
export function scoreSection({ scores }: ReportData): Html | undefined {
	if (!scores) return undefined;
	return html`<div class="grid">
${reliability("Each judgement, as shown", "The event: “Image 1” is the preferred one.", scores.rollouts)}
${scores.pairs.n > 0 && reliability("Each pair, both orders averaged", "A leaning to one position cancels out.", scores.pairs)}
</div>`;
}

function reliability(title: string, text: string, { bins, n, ece, brier, auc }: Calibration): Html {
	const [error, score, area] = [ece, brier, auc].map((value) => (Number.isNaN(value) ? "–" : value.toFixed(3)));
	const rows = bins
		.filter(({ happened }) => happened.of > 0)
		.map(({ from, to, meanProbability, happened }) => [
			`${from.toFixed(2)}–${to.toFixed(2)}`,
			number(happened.of),
			meanProbability.toFixed(3),
			html`${share(happened)} <small>${interval(happened)}</small>`,
		]);
	const facts = `${text} ${number(n)} scored; calibration error ${error}, Brier score ${score}, AUC ${area}.`;
	return figure(title, facts, reliabilityPlot(bins), tableHtml(["probability", "scored", "mean", "happened, 95 %"], rows));
}

const NAMES: Readonly<Record<keyof StatsBreakdown, string>> = {
	source: "Source",
	model1: "Model of image 1, as stored",
	model2: "Model of image 2, as stored",
	confidence: "Confidence of the label",
	preferredShown: "Preferred image shown",
	tokens: "Tokens",
	difficulty: "Difficulty",
};

function shiftFigure({ breakdown }: ReportData): Html {
	const shifts = Object.entries(breakdown).map(([name, { shift }]) => ({ name: NAMES[name as keyof StatsBreakdown].split(",")[0], shift }));
	return figure(
		"Selection shift",
		"How far the kept differ from all: 0 where they are distributed alike, 1 where they have nothing in common. The tables say where.",
		shiftPlot(shifts),
		tableHtml(
			["property", "shift"],
			shifts.map(({ name, shift }) => [name, shift.toFixed(3)]),
		),
	);
}

/** Rows that a table shows at once. */
const MOST_ROWS = 12;

export function breakdownSection(data: ReportData): Html {
	return html`<div class="grid">${data.kept > 0 && shiftFigure(data)}${Object.entries(data.breakdown).map(([name, { rows, shift }]) => {
		const cells = rows.map((row) => [
			row.value,
			number(row.total),
			html`${share(row.accuracy)} <small>${interval(row.accuracy)}</small>`,
			percent(row.shareOfAll),
			percent(row.shareOfKept),
		]);
		const head = ["", "judgements", "right, 95 %", "of all", "of kept"];
		const caption = html`<caption>${NAMES[name as keyof StatsBreakdown]}<small>shift ${shift.toFixed(3)}</small></caption>`;
		const more =
			cells.length > MOST_ROWS &&
			html`<details><summary>${cells.length - MOST_ROWS} more</summary>${tableHtml(head, cells.slice(MOST_ROWS))}</details>`;
		return html`<div class="table" tabindex="0" role="region" aria-label="${NAMES[name as keyof StatsBreakdown]}">${tableHtml(head, cells.slice(0, MOST_ROWS), caption)}${more}</div>`;
	})}</div>`;
}

function figure(title: string, text: string, plot: Html, numbers: Html): Html {
	return html`<figure><figcaption>${title}<small>${text}</small></figcaption>${plot}<details><summary>Numbers</summary>${numbers}</details></figure>`;
}

const binTable = (name: string, bins: readonly Bin[]) =>
	tableHtml(
		[name, "all", "kept"],
		bins.map((bin) => [bin.name, number(bin.total), number(bin.kept)]),
	);

function tableHtml(head: readonly string[], rows: readonly (readonly (string | Html)[])[], caption?: Html): Html {
	return html`<table>${caption}<thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows.map(
		([first, ...cells]) => html`<tr><th scope="row">${first}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`,
	)}</tbody></table>`;
}
