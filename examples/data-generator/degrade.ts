/**
 * The four ways in which a picture is spoilt here, each strong enough for a person to name at 84×84.
 * Noise is drawn from the generator's own stream, so that files are the same on every run.
 */
import sharp, { type Sharp } from "sharp";
import type { Random } from "./random.js";

/** How a picture looks; the judge's words for it. */
export const QUALITIES = ["clean", "tinted", "blurry", "noisy", "blocky"] as const;
export type Quality = (typeof QUALITIES)[number];
export type Flaw = Exclude<Quality, "clean">;

/** Gains for red, green and blue: casts that no lamp in the photographs has. */
const CASTS = [
	[1.15, 0.6, 1.05],
	[0.6, 1.1, 0.65],
	[0.55, 0.75, 1.2],
	[1.25, 0.75, 0.45],
] as const;

/** Standard deviation of the noise, in levels of 255. */
const NOISE = [38, 60] as const;

/** One normal deviate (Box–Muller). */
function normal(random: Random): number {
	return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

async function addNoise(image: Sharp, random: Random): Promise<Sharp> {
	const { data, info } = await image.removeAlpha().raw().toBuffer({ resolveWithObject: true });
	const sigma = random.between(...NOISE);
	for (let i = 0; i < data.length; i++) data[i] = Math.max(0, Math.min(255, Math.round(data[i] + sigma * normal(random))));
	return sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } });
}

/** Spoils a picture in the named way; `clean` leaves it as it is. */
export async function degrade(image: Sharp, quality: Quality, random: Random): Promise<Sharp> {
	switch (quality) {
		case "clean":
			return image;
		case "tinted":
			return image.removeAlpha().linear([...random.pick(CASTS)], [0, 0, 0]);
		case "blurry":
			return sharp(await image.removeAlpha().blur(random.between(2, 3.2)).png().toBuffer());
		case "noisy":
			return addNoise(image, random);
		case "blocky":
			return sharp(
				await image
					.removeAlpha()
					.jpeg({ quality: 6 + random.below(4) })
					.toBuffer(),
			);
	}
}
