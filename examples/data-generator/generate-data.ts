/**
 * Writes the demo's data, in HPDv3's own layout: a JSON array of {prompt, choice_dist, confidence, path1 (the preferred
 * picture), path2, model1, model2}, and the pictures in a folder beside it.
 *
 *     npx tsx examples/data-generator/generate-data.ts [folder = examples/data]
 *
 * Splits share no picture and no photograph. The worse picture's `model2` names what is wrong with it ("scenes:colour"),
 * so that a run can be broken down by defect; the judge never sees it.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { captionOf, drawPair, renderLook } from "./pair.js";
import { Random } from "./random.js";
import type { Split } from "./split.js";

/** One row of HPDv3's JSON. */
export interface HpdV3Row {
	prompt: string;
	/** Votes for path1 and path2. */
	choice_dist: [number, number];
	/** Share of votes for path1. */
	confidence: number;
	/** Relative to the JSON file's folder; path1 is the preferred picture. */
	path1: string;
	path2: string;
	model1: string;
	model2: string;
}

/** Annotators whose votes are made up. */
const VOTERS = 12;

/** Draws one split's pairs and writes its pictures and `<name>.json`. @returns the rows. */
export async function generateSplit(folder: string, name: string, split: Split, count: number): Promise<HpdV3Row[]> {
	await mkdir(join(folder, name), { recursive: true });
	const rows: HpdV3Row[] = [];
	for (let i = 0; i < count; i++) {
		const random = new Random(`${split}/${i}`);
		const pair = drawPair(split, random);
		const paths: string[] = [];
		for (const [suffix, look] of [["a", pair.better] as const, ["b", pair.worse] as const]) {
			const { bytes, extension } = await renderLook(look, random);
			const path = `${name}/${String(i).padStart(4, "0")}${suffix}.${extension}`;
			await writeFile(join(folder, path), bytes);
			paths.push(path);
		}
		const votes = VOTERS - random.below(4);
		const generator = pair.asked.kind === "photo" ? "photographs" : "scenes";
		rows.push({
			prompt: captionOf(pair.asked),
			choice_dist: [votes, VOTERS - votes],
			confidence: Number((votes / VOTERS).toFixed(3)),
			path1: paths[0],
			path2: paths[1],
			model1: `${generator}:faithful`,
			model2: `${generator}:${pair.defect}`,
		});
	}
	await writeFile(join(folder, `${name}.json`), `${JSON.stringify(rows, null, "\t")}\n`);
	return rows;
}

async function main(folder: string): Promise<void> {
	for (const [name, split, count] of [["train", "rejection", 400] as const, ["heldout", "heldout", 200] as const]) {
		const rows = await generateSplit(folder, name, split, count);
		console.log(`${join(folder, `${name}.json`)}: ${rows.length} pairs`);
	}
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv[2] ?? "examples/data");
