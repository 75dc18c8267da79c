/** The page in a real browser, of rollouts whose every text is hostile; and what is counted into it. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collectReport } from "../../src/report/collect-report.js";
import { writeReport } from "../../src/report/write-report.js";
import { filterRollouts } from "../../src/reward/filter-rollouts.js";
import { correct, wellFormed } from "../../src/reward/filters/answer.js";
import { eachJudgement } from "../../src/reward/rollout-filter.js";
import type { Rollout } from "../../src/sampler/rollout.js";
import { openBrowser } from "./chromium.js";

/** Ends a script, an attribute, a style, a comment and a CDATA section, and runs a program if any of that is heeded. */
const HOSTILE = `</script></style>--></svg>]]><script>globalThis.broken=1</script><img src=x onerror="globalThis.broken=1">"'\`&amp;\u2028\u2029\0{{a}}`;
const RECORDS = 60;
/** Where text stands whose contrast is measured. */
const TEXTS = [
	"body",
	"dl.facts dt",
	"nav a",
	".tile span",
	"figcaption small",
	".chips .good",
	".chips .bad",
	"svg text",
	".controls label",
	".from",
];

let folder: string;
let browser: Browser;
let file: string;

const completion = (answer: 1 | 2, text = "They differ.") => `<think>${text}</think>\n<answer>Image ${answer} is better</answer>`;

/** Two rollouts of each record; of eight in a row, one can't be parsed, one could not be generated, the others are right or wrong. */
function* rollouts(images: readonly [string, string]): Generator<Rollout> {
	for (let row = 0; row < RECORDS; row++) {
		for (const [sample, order] of (
			[
				[0, 1],
				[1, 0],
			] as const
		).entries()) {
			const i = 2 * row + sample;
			const text = i % 8 === 1 ? `no form ${HOSTILE}` : completion(i % 3 === 0 ? 2 : 1, `Number ${i}. ${HOSTILE}`);
			yield {
				record: {
					...{ key: `key-${row}-${HOSTILE}`, prompt: `caption ${row} ${HOSTILE}`, preferred: 0, order, confidence: (row % 10) / 10 },
					...{
						images: row === 3 ? [images[0], `missing ${HOSTILE}`] : images,
						source: { name: HOSTILE, file: `${HOSTILE}${row % 2}`, row },
					},
					...{ model1: `model A ${HOSTILE}`, model2: `model ${row} ${HOSTILE}` },
				},
				...{ sampleIndex: 0, seed: i, promptText: HOSTILE, numTokens: 20 + (i % 40) },
				score: { image1: (i % 10) / 10, preferred: order[0] === 0 ? (i % 10) / 10 : 1 - (i % 10) / 10, mass: 1 },
				...(i % 8 === 5
					? { completion: "", finishReason: "error" as const, error: { kind: "error" as const, message: `broke ${HOSTILE}` } }
					: { completion: text, finishReason: "stop" as const }),
			};
		}
	}
}

async function picture(name: string, colour: string): Promise<string> {
	const path = join(folder, name);
	await sharp({ create: { width: 300, height: 200, channels: 3, background: colour } })
		.png()
		.toFile(path);
	return path;
}

async function makeReport(path: string): Promise<void> {
	const images = [await picture(`a"'&.png`, "#3366cc"), await picture("b.png", "#cc6633")] as const;
	const filters = [
		wellFormed(),
		correct(),
		eachJudgement(`odd ${HOSTILE}`, ({ seed }) => (seed % 4 === 2 ? `odd seed ${HOSTILE}` : undefined)),
	];
	const collector = collectReport({ gallery: 40, seed: 7, filters: filters.map(({ name }) => name) });
	for await (const _ of filterRollouts(rollouts(images), filters, { onRecord: (record) => collector.add(record) }));
	await writeReport(path, collector, {
		...{ title: `Title ${HOSTILE}`, facts: { [HOSTILE]: HOSTILE }, exported: { [`${HOSTILE}.json`]: 3 } },
		input: { rows: 60, records: RECORDS, bad: { duplicate: 15, "missing-image": 60 - RECORDS - 15 }, ties: 2 },
	});
}

/** Opens the page; `problems` is what a page that is well has none of. */
async function open(options: BrowserContextOptions = {}): Promise<{ page: Page; problems: string[] }> {
	const page = await browser.newPage({ viewport: { width: 1200, height: 900 }, offline: true, ...options });
	const problems: string[] = [];
	page.on("console", (message) => problems.push(`console ${message.type()}: ${message.text()}`));
	page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
	page.on("request", (request) => {
		if (request.url() !== pathToFileURL(file).href && !request.url().startsWith("data:")) problems.push(`request: ${request.url()}`);
	});
	await page.goto(pathToFileURL(file).href);
	return { page, problems };
}

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "rft-report-"));
	file = join(folder, "report.html");
	await makeReport(file);
	browser = await openBrowser();
}, 300_000);
afterAll(async () => {
	await browser?.close();
	await rm(folder, { recursive: true });
});

describe("the page", () => {
	it("holds hostile text as text: no error, no request, nothing of it runs", async () => {
		const { page, problems } = await open();
		expect(await page.evaluate("[typeof globalThis.broken, document.scripts.length]")).toEqual(["undefined", 1]);
		const shownText = HOSTILE.replace("\0", "\uFFFD");
		expect(await page.title()).toContain("Title </script></style>");
		for (const selector of ["h1", "article h3", "article .reasoning", "article .why", "article .muted", "button", "figcaption small"])
			expect(await page.locator(selector, { hasText: "</script></style>" }).count(), selector).toBeGreaterThan(0);
		expect(await page.locator("h1").textContent()).toBe(`Title ${shownText}`);
		expect(await page.locator("svg").evaluateAll((plots) => plots.filter((plot) => plot.querySelector("script, img, style")).length)).toBe(
			0,
		);
		expect(problems).toEqual([]);
		await page.close();
	});

	it("says what the data's rows came to, by kind", async () => {
		const { page } = await open();
		const figure = page.locator("#yield figure", { hasText: "What the data holds" });
		expect(await figure.locator("figcaption small").textContent()).toBe(
			`60 rows, of which ${60 - RECORDS} were put aside as bad → ${RECORDS} pairs. Besides, 2 without a preference (ties).`,
		);
		const cells = await figure
			.locator("tbody tr")
			.evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
		expect(cells).toEqual([
			["rows read", "60", ""],
			["duplicate", "45", "15"],
			["missing-image", `${RECORDS}`, `${60 - RECORDS - 15}`],
			["pairs", `${RECORDS}`, "0"],
		]);
		await page.close();
	});

	it("is chosen from by clicking, selecting and searching", async () => {
		const { page, problems } = await open();
		const shown = () => page.locator("article:visible").count();
		expect(await shown()).toBe(40);
		await page.getByRole("button", { name: /^kept/ }).click();
		const kept = await shown();
		expect(kept).toBeGreaterThan(0);
		expect(await page.locator("article:visible .chips li:first-child").allTextContents()).toEqual(Array(kept).fill("kept"));
		expect(await page.locator("#count").textContent()).toBe(`${kept} of 40 shown`);
		await page.getByLabel("Preferred is shown").selectOption("second");
		const second = await shown();
		expect(second).toBeLessThan(kept);
		expect(await page.locator('article:visible[data-order="first"]').count()).toBe(0);
		await page.getByRole("button", { name: /^all/ }).click();
		await page.getByLabel("Preferred is shown").selectOption("");
		await page.getByLabel("Search").fill("caption 3");
		expect((await page.locator("article:visible h3").allTextContents()).every((text) => text.startsWith("caption 3"))).toBe(true);
		await page.getByLabel("Search").fill("nowhere to be found");
		expect(await shown()).toBe(0);
		expect(problems).toEqual([]);
		await page.close();
	});

	it.each(["light", "dark"] as const)("is not blank, and can be read, in %s", async (colorScheme) => {
		const { page } = await open({ colorScheme });
		const { channels, entropy } = await sharp(await page.screenshot()).stats();
		expect(channels[0].mean).toSatisfy((mean: number) => (colorScheme === "light" ? mean > 200 : mean < 80));
		expect(entropy).toBeGreaterThan(1);
		const ratios = await page.evaluate<number[]>(CONTRASTS);
		expect(ratios).toHaveLength(TEXTS.length);
		for (const [i, ratio] of ratios.entries()) {
			expect(ratio, TEXTS[i]).toBeGreaterThanOrEqual(4.5);
			expect(ratio, TEXTS[i]).toBeLessThanOrEqual(21);
		}
		await page.close();
	});

	it("fits a narrow window", async () => {
		const { page } = await open({ viewport: { width: 360, height: 800 } });
		expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
		await page.close();
	});

	it("has headings in order, names for plots and pictures, and the pictures themselves", async () => {
		const { page } = await open();
		const levels = await page.locator("h1, h2, h3").evaluateAll((all) => all.map(({ tagName }) => Number(tagName[1])));
		expect(levels.filter((level) => level === 1)).toHaveLength(1);
		expect(levels.every((level, i) => i === 0 || level <= levels[i - 1] + 1)).toBe(true);
		expect(await page.locator("img:not([alt]), img[alt='']").count()).toBe(0);
		expect(await page.locator("svg:not([role=img]), svg:not([aria-label])").count()).toBe(0);
		expect(await page.locator("svg").count()).toBe(9);
		await page.locator("article").last().scrollIntoViewIfNeeded();
		const sizes = await page
			.locator("article img")
			.evaluateAll((all) => all.map((image) => [image.getAttribute("width"), image.getAttribute("src")?.slice(0, 23)]));
		expect(sizes.every(([width, uri]) => width === "240" && uri === "data:image/webp;base64,")).toBe(true);
		expect(await page.locator("article .missing").allTextContents()).toSatisfy((texts: string[]) =>
			texts.every((text) => text.includes("can’t be shown")),
		);
		await page.close();
	});
});

/** In the page: the least contrast ratio (WCAG 2) between text and what is behind it, of each selector in TEXTS. */
const CONTRASTS = `(() => {
	const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
	const luminance = ([r, g, b]) => {
		const [x, y, z] = [r, g, b].map((c) => (c <= 10.31475 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
		return 0.2126 * x + 0.7152 * y + 0.0722 * z;
	};
	const behind = (element) => {
		for (let at = element; at; at = at.parentElement) {
			const colour = channels(getComputedStyle(at).backgroundColor);
			if (colour.length === 3 || colour[3] === 1) return colour;
		}
		return [255, 255, 255];
	};
	return ${JSON.stringify(TEXTS)}.map((selector) => Math.min(...[...document.querySelectorAll(selector)].map((element) => {
		const style = getComputedStyle(element);
		const [a, b] = [luminance(channels(element.tagName === "text" ? style.fill : style.color)), luminance(behind(element))];
		return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
	})));
})()`;

it("is the same bytes for the same rollouts", async () => {
	const again = join(folder, "again.html");
	await makeReport(again);
	expect(await readFile(again, "utf8")).toBe(await readFile(file, "utf8"));
});

it("says that there is nothing where there is nothing", async () => {
	const empty = join(folder, "empty.html");
	await writeReport(empty, []);
	expect(await readFile(empty, "utf8")).toContain("There are no judgements.");
});

it("keeps what stood there if the rollouts fail", async () => {
	const path = join(folder, "kept.html");
	await writeFile(path, "earlier");
	const failing = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("torn")) }) };
	await expect(writeReport(path, failing)).rejects.toThrow("torn");
	expect(await readFile(path, "utf8")).toBe("earlier");
});
