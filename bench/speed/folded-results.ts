/** What the other benches wrote, as lines under the speed table; a file that is not there gives none. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const eventLoop = z.object({
	machine: z.object({ loadBefore: z.number() }),
	results: z.array(z.object({ mode: z.string(), sampling: z.object({ p99Ms: z.number() }) })),
});

const secondsOf = z.object({ best: z.object({ min: z.number() }) });
const images = z.object({
	secondsPerImage: z.record(z.string(), z.object({ addon: secondsOf, torchvision: secondsOf.optional(), pillow: secondsOf.optional() })),
});

/** @param folder bench/results */
export function foldedLines(folder: string): string[] {
	return [
		...imageLines(join(folder, "images.json")),
		...eventLoopLines(join(folder, "event-loop.json")),
		...growthLines(join(folder, "growth.md")),
	];
}

function eventLoopLines(file: string): string[] {
	if (!existsSync(file)) return [];
	const { results } = eventLoop.parse(JSON.parse(readFileSync(file, "utf8")));
	const modes = results.map(({ mode, sampling }) => `${mode} ${sampling.p99Ms.toFixed(1)} ms`).join(", ");
	return [`Event-loop delay of a service while it samples, p99 (goal: < 20 ms): ${modes} (\`npx tsx bench/event-loop.ts\`).`];
}

/** Images per second, each side in its fastest way of calling; the goal is against transformers' faster processor. */
function imageLines(file: string): string[] {
	if (!existsSync(file)) return [];
	const { secondsPerImage } = images.parse(JSON.parse(readFileSync(file, "utf8")));
	const sizes = Object.entries(secondsPerImage).map(([name, { addon, torchvision, pillow }]) => {
		const rate = ({ best }: z.infer<typeof secondsOf>) => (1 / best.min).toFixed(0);
		const peers = { torchvision, pillow };
		const told = Object.entries(peers).flatMap(([peer, side]) =>
			side ? [`${peer} ${rate(side)}, ${(side.best.min / addon.best.min).toFixed(2)} ×`] : [],
		);
		return `${name} ${rate(addon)} images/s${told.length > 0 ? ` (transformers on ${told.join("; on ")})` : ""}`;
	});
	return [`JPEG to pixel values (goal: ≥ 1.5 × transformers' faster): ${sizes.join(", ")} (\`npx tsx bench/images.ts --peer PYTHON\`).`];
}

function growthLines(file: string): string[] {
	return existsSync(file)
		? ["How cost grows with cache, sequence and checkpoint: [table and plot](bench/results/growth.md) (`npx tsx bench/growth.ts`)."]
		: [];
}
