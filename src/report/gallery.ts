/** The gallery: a card for each judgement that was drawn, with the pair as it was shown, and the controls that choose among them. */
import { shownImages } from "../dataset/preference-record.js";
import { correctAnswer } from "../reward/correct-answer.js";
import type { ReportData } from "./collect-report.js";
import type { GalleryItem } from "./gallery-sample.js";
import { type Html, html } from "./html.js";
import { number } from "./number.js";
import { type Thumbnail, thumbnail } from "./thumbnail.js";

/** Longest texts that a card takes, in characters. */
const MOST_TEXT = 20_000;
const MOST_CAPTION = 600;

interface Card extends GalleryItem {
	/** As shown. */
	images: readonly [Thumbnail, Thumbnail];
}

export async function galleryHtml({ gallery: { items, seed }, total }: ReportData): Promise<Html> {
	const cards: Card[] = [];
	// One after the other: the page's pictures are few, and sharp uses all cores for each.
	for (const item of items) {
		const [first, second] = shownImages(item.rollout.record);
		cards.push({ ...item, images: [await thumbnail(first), await thumbnail(second)] });
	}
	return html`<p class="muted">${number(items.length)} of ${number(total)} judgements, drawn by seed ${seed}, evenly from each fate as far as there are enough. Images stand
as the judge was shown them; “preferred” is the label.</p>
${controls(cards)}
<div class="gallery">${cards.map(card)}</div>`;
}

/** What the selects choose by. */
const PROPERTIES = {
	outcome: { label: "Outcome", of: ({ rollout }: GalleryItem) => rollout.outcome as string },
	says: { label: "Says", of: ({ rollout: { answer } }: GalleryItem) => (answer === undefined ? "no winner" : `Image ${answer}`) },
	order: {
		label: "Preferred is shown",
		of: ({ rollout: { record } }: GalleryItem) => (correctAnswer(record) === 1 ? "first" : "second"),
	},
	difficulty: { label: "Pair is judged right", of: ({ passRate: { right, of } }: GalleryItem) => difficulty(right, of) },
	source: { label: "Source", of: ({ rollout: { record } }: GalleryItem) => `${record.source.name}:${record.source.file}` },
};

function difficulty(right: number, of: number): string {
	if (right === 0) return "never";
	return right === of ? "always" : "sometimes";
}

function controls(cards: readonly Card[]): Html {
	const fates = [...new Set(cards.map(({ fate }) => fate))];
	const count = (fate: string) => cards.filter((shown) => shown.fate === fate).length;
	const selects = Object.entries(PROPERTIES).map(([property, { label, of }]) => {
		const values = [...new Set(cards.map(of))].sort();
		if (values.length < 2) return undefined;
		return html`<label>${label}<select data-property="${property}"><option value="">any</option>${values.map(
			(value) => html`<option value="${value}">${value}</option>`,
		)}</select></label>`;
	});
	return html`<div class="controls" hidden>
<div role="group" aria-label="What became of them"><button data-fate="" aria-pressed="true">all ${cards.length}</button>${fates.map(
		(fate) => html`<button data-fate="${fate}" aria-pressed="false">${fate} ${count(fate)}</button>`,
	)}</div>
${selects}
<label>Search<input id="search" type="search" placeholder="caption, reasoning, model"></label>
<span id="count" role="status"></span>
</div>`;
}

function card(shown: Card): Html {
	const { rollout, fate, passRate, images } = shown;
	const { record, outcome, answer, reason, sampleIndex, numTokens } = rollout;
	const right = answer === undefined ? undefined : answer === correctAnswer(record);
	const data = Object.entries(PROPERTIES).map(([property, { of }]) => html` data-${property}="${of(shown)}"`);
	return html`<article data-fate="${fate}"${data}>
<h3 dir="auto">${cut(record.prompt, MOST_CAPTION)}</h3>
<div class="pair">${images.map((image, i) => pictureHtml(shown, image, i as 0 | 1))}</div>
<ul class="chips"><li class="${fate === "kept" ? "good" : "bad"}">${fate === "kept" ? "kept" : `turned away: ${fate}`}</li><li class="${
		right === true ? "good" : right === false ? "bad" : ""
	}">${answer === undefined ? "names no winner" : `says Image ${answer}`}</li><li>${outcome}</li>${
		rollout.reward === undefined ? undefined : html`<li>reward ${Number(rollout.reward.toFixed(4))}</li>`
	}</ul>
${fate !== "kept" && reason !== undefined && html`<p class="why" dir="auto"><b>Why:</b> ${cut(reason, MOST_CAPTION)}</p>`}
${textHtml(rollout)}
<p class="from">pair judged right ${passRate.right} of ${passRate.of} times · sample ${sampleIndex} · ${number(numTokens)} tokens${
		record.confidence === undefined ? "" : ` · confidence ${record.confidence}`
	}<br>${record.source.name}:${record.source.file}, row ${record.source.row}</p>
</article>`;
}

function pictureHtml({ rollout: { record } }: Card, image: Thumbnail, place: 0 | 1): Html {
	const stored = record.order[place];
	const preferred = stored === record.preferred;
	const model = stored === 0 ? record.model1 : record.model2;
	const path = record.images[stored];
	const picture = image.ok
		? html`<img src="${image.uri}" width="${image.width}" height="${image.height}" loading="lazy" title="${path}" alt="Image ${place + 1} as shown${preferred ? ", preferred" : ""}">`
		: html`<div class="missing" title="${path}">Image ${place + 1} can’t be shown: ${cut(image.reason, MOST_CAPTION)}</div>`;
	return html`<div class="${preferred ? "preferred" : ""}">${picture}Image ${place + 1}${preferred && html` <strong>✓ preferred</strong>`}${
		model !== undefined && html`<br><span class="muted">${model}</span>`
	}</div>`;
}

/** Reasoning and verdict where they could be told apart, else the text as it was generated. */
function textHtml({ reasoning, answerText, completion }: GalleryItem["rollout"]): Html | undefined {
	if (completion === "") return undefined;
	if (answerText === undefined) return html`<details><summary>Text as generated</summary>${paragraph(completion)}</details>`;
	const verdict = html`<p class="why" dir="auto"><b>Verdict:</b> ${cut(answerText, MOST_CAPTION)}</p>`;
	if (reasoning === undefined) return verdict;
	return html`${verdict}<details><summary>Reasoning</summary>${paragraph(reasoning)}</details>`;
}

const paragraph = (text: string) =>
	html`<div class="reasoning" dir="auto" tabindex="0" role="region" aria-label="Text of the judge">${cut(text, MOST_TEXT)}</div>`;

function cut(text: string, most: number): string {
	return text.length <= most ? text : `${text.slice(0, most)} … (${number(text.length - most)} characters more)`;
}
