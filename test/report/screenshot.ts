/**
 * The README's picture of a report, from a real run:
 *
 *     npx tsx test/report/screenshot.ts demo-output/report.html docs/images/report.png
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { openBrowser } from "./chromium.js";

const WIDTH = 1180;
const SCALE = 1.25;
/** Of the gallery's part. */
const CARDS_HEIGHT = 568;

const [page, picture] = process.argv.slice(2);
if (picture === undefined) throw new Error("usage: screenshot.ts REPORT.html PICTURE.png");
const browser = await openBrowser();
const tab = await browser.newPage({ viewport: { width: WIDTH, height: 1600 }, deviceScaleFactor: SCALE });
await tab.goto(pathToFileURL(resolve(page)).href);
const { y, height } = (await tab.locator("#judge").boundingBox()) ?? { y: 0, height: 800 };
const topHeight = Math.ceil((y + height + 24) / 4) * 4; // a whole number of dots
const top = await tab.screenshot({ clip: { x: 0, y: 0, width: WIDTH, height: topHeight } });
// The gallery's first cards, without what stands above them.
await tab.evaluate(
	`for (const element of document.querySelectorAll("header, .tiles, section:not(#gallery), #gallery > p")) element.remove()`,
);
const cards = await tab.screenshot({ clip: { x: 0, y: 0, width: WIDTH, height: CARDS_HEIGHT } });
await browser.close();
const { width, height: dots } = await sharp({
	create: { width: WIDTH * SCALE, height: (topHeight + CARDS_HEIGHT) * SCALE, channels: 3, background: "#fff" },
})
	.composite([
		{ input: top, left: 0, top: 0 },
		{ input: cards, left: 0, top: topHeight * SCALE },
	])
	.png({ palette: true, colours: 128, compressionLevel: 9 })
	.toFile(picture);
console.log(`${picture}: ${width} × ${dots}`);
