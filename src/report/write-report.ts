/**
 * What was sampled, and what of it was kept, as one HTML file to look at and to send: yield, accuracy and position bias, difficulty, length, breakdowns, and
 * a gallery of judgements with their pictures. It needs nothing but a browser: plots are SVG, pictures are in the file, and a Content-Security-Policy in it
 * forbids every request and every program but its own (by hash), whatever captions and reasonings hold. The same rollouts give the same bytes.
 */
import { createHash } from "node:crypto";
import type { RowCounts } from "../dataset/bad-rows.js";
import { writeText } from "../files/write-text.js";
import type { Evaluation } from "../reward/evaluate.js";
import { groupByRecord } from "../reward/group-by-record.js";
import type { JudgedRollout } from "../reward/outcome.js";
import { passRate } from "../reward/pass-rate.js";
import { type CollectReportOptions, collectReport, type ReportCollector, type ReportData } from "./collect-report.js";
import { FILTER_SCRIPT } from "./filter-script.js";
import { type Html, html, trusted } from "./html.js";
import { STYLE } from "./style.js";

/** What the rollouts themselves don't say. */
export interface ReportFacts {
	/** Default: "Rejection sampling". */
	title?: string;
	/** Shown under the title, such as `{ judge: "examples/judge" }`. */
	facts?: Readonly<Record<string, string | number>>;
	/** What the rows of the data set came to: `counts` of `loadDataset`'s records. */
	input?: RowCounts;
	/** Rows per exported file, as `writeExports` counts them. */
	exported?: Readonly<Record<string, number>>;
	/** Held-out evaluations, in order, by when they were made: `{ before, after }`. */
	evaluations?: Readonly<Record<string, Evaluation>>;
}

export type WriteReportOptions = ReportFacts & CollectReportOptions;

/**
 * @param file the HTML file; appears when it is whole
 * @param rollouts all of them, kept and turned away, a record's together; or what `collectReport` has gathered
 * @throws what `rollouts` throws; an image that can't be read is said on its card
 */
export async function writeReport(
	file: string,
	rollouts: Iterable<JudgedRollout> | AsyncIterable<JudgedRollout> | ReportCollector,
	options: WriteReportOptions = {},
): Promise<void> {
	const collector = "data" in rollouts ? rollouts : await collected(rollouts, options);
	await writeText(file, (await pageHtml(collector.data(), options)).markup);
}

async function collected(rollouts: Iterable<JudgedRollout> | AsyncIterable<JudgedRollout>, options: CollectReportOptions) {
	const collector = collectReport(options);
	for await (const record of groupByRecord(rollouts)) collector.add({ rollouts: record, passRate: passRate(record) });
	return collector;
}

const SECTIONS = {
	yield: "Yield",
	judge: "Judge",
	scores: "Reliability of the verdict’s probability",
	pairs: "Difficulty and length",
	breakdown: "Breakdown and selection shift",
	gallery: "Gallery",
};

async function pageHtml(data: ReportData, facts: ReportFacts): Promise<Html> {
	// Loaded where a report is written: ECharts is large, and most programs write none.
	const [{ tiles, yieldSection, judgeSection, scoreSection, pairSection, breakdownSection }, { galleryHtml }] = await Promise.all([
		import("./sections.js"),
		import("./gallery.js"),
	]);
	const { title = "Rejection sampling" } = facts;
	const bodies: Record<keyof typeof SECTIONS, Html | undefined> = {
		yield: yieldSection(data, facts),
		judge: judgeSection(data, facts),
		scores: scoreSection(data),
		pairs: pairSection(data),
		breakdown: breakdownSection(data),
		gallery: await galleryHtml(data),
	};
	const sections = Object.entries(SECTIONS).filter(([id]) => bodies[id as keyof typeof SECTIONS] !== undefined);
	return html`${head(title)}<body>
<header><h1>${title}</h1>${factList(facts.facts)}
<nav aria-label="Sections">${sections.map(([id, name]) => html`<a href="#${id}">${name}</a>`)}</nav></header>
<main>
${data.total === 0 ? html`<p>There are no judgements.</p>` : tiles(data, facts)}
${sections.map(([id, name]) => html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${name}</h2>${bodies[id as keyof typeof SECTIONS]}</section>`)}
</main>
<footer>Written by tfjs-rft. Intervals are Wilson’s, 95 %; several judgements of one pair are not quite independent, so they are a little narrow.</footer>
<script>${trusted(FILTER_SCRIPT)}</script>
</body></html>
`;
}

function head(title: string): Html {
	const hash = createHash("sha256").update(FILTER_SCRIPT).digest("base64");
	const policy = `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
	return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><link rel="icon" href="data:,">
<style>${trusted(STYLE)}</style></head>
`;
}

function factList(facts: ReportFacts["facts"] = {}): Html | undefined {
	if (Object.keys(facts).length === 0) return undefined;
	return html`<dl class="facts">${Object.entries(facts).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}
