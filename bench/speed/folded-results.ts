/** What the other benches wrote, as lines under the speed table; a file that is not there gives none. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const eventLoop = z.object({
	machine: z.object({ loadBefore: z.number() }),
	results: z.array(z.object({ mode: z.string(), sampling: z.object({ p99Ms: z.number() }) })),
});

/** @param folder bench/results */
export function foldedLines(folder: string): string[] {
	return [...eventLoopLines(join(folder, "event-loop.json"))];
}

function eventLoopLines(file: string): string[] {
	if (!existsSync(file)) return [];
	const { results } = eventLoop.parse(JSON.parse(readFileSync(file, "utf8")));
	const modes = results.map(({ mode, sampling }) => `${mode} ${sampling.p99Ms.toFixed(1)} ms`).join(", ");
	return [`Event-loop delay of a service while it samples, p99 (goal: < 20 ms): ${modes} (\`npx tsx bench/event-loop.ts\`).`];
}
