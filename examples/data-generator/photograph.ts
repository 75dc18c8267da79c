/**
 * Crops of ten free photographs (photos/README.md has their terms). A photograph belongs to one split, so that
 * nothing of a held-out photograph is ever seen in training.
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp, { type Sharp } from "sharp";
import type { Random } from "./random.js";
import { SIDE } from "./scene.js";
import type { Split } from "./split.js";

/** File name without ending → what the caption calls it. */
export const PHOTOGRAPHS: Record<Split, Record<string, string>> = {
	"cold-start": { astronaut: "an astronaut", hubble_deep_field: "galaxies", brick: "a brick wall", coins: "old coins" },
	rejection: { camera: "a man with a camera", coffee: "a cup of coffee", grass: "grass" },
	heldout: { chelsea: "a tabby cat", rocket: "a rocket", gravel: "gravel" },
};

/** Crops tried for one picture; the one with most detail is kept, as a blur is invisible in an empty sky. */
const TRIES = 3;

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), "photos");

/** "a photo of a tabby cat" */
export function photographCaption(subject: string): string {
	return `a photo of ${subject}`;
}

/** A square crop with some detail in it, at 84×84, without alpha. */
export async function cropPhotograph(name: string, random: Random): Promise<Sharp> {
	const file = join(FOLDER, `${name}.jpg`);
	const { width, height } = await sharp(file).metadata();
	let best: { crop: Buffer; entropy: number } | undefined;
	for (let i = 0; i < TRIES; i++) {
		const size = Math.round(random.between(SIDE, Math.min(width, height, 3 * SIDE)));
		const region = { left: random.below(width - size + 1), top: random.below(height - size + 1), width: size, height: size };
		const crop = await sharp(file).extract(region).resize(SIDE, SIDE).toColourspace("srgb").png().toBuffer();
		const { entropy } = await sharp(crop).stats();
		if (!best || entropy > best.entropy) best = { crop, entropy };
	}
	if (!best) throw new Error(`photograph ${name}: no crop was tried; TRIES must be at least 1`);
	return sharp(best.crop).removeAlpha();
}
