/** `round.json`: a finished round, and the settings that it was made with. It is written last, so that a round without it is not finished. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { z } from "zod";
import { writeText } from "../files/write-text.js";
import type { RoundOutcome } from "./round.js";

/** JSON values by name. */
export type Settings = Readonly<Record<string, unknown>>;

/** A folder holds rounds that can't be gone on from. */
export class RoundError extends Error {
	override readonly name = "RoundError";
}

const roundSchema = z.object({
	checkpoint: z.string(),
	accuracy: z.number(),
	facts: z.unknown().optional(),
	settings: z.record(z.string(), z.unknown()),
});

/** @returns undefined for a round that is not finished. @throws RoundError where the file is damaged, of other settings, or its judge is gone */
export async function readRound(folder: string, settings: Settings): Promise<RoundOutcome | undefined> {
	const file = join(folder, "round.json");
	if (!existsSync(file)) return undefined;
	const { settings: before, checkpoint: way, ...rest } = await parseRound(file);
	const outcome = { ...rest, checkpoint: join(folder, way) };
	const differences = differencesOf(before, settings);
	if (differences.length > 0)
		throw new RoundError(
			`${file}: this round was made with other settings:\n  ${differences.join("\n  ")}\nchoose another folder, or remove this one`,
		);
	if (!existsSync(outcome.checkpoint))
		throw new RoundError(
			`${file}: expected the judge that this round has made, ${outcome.checkpoint} is gone; remove ${file} to make it again`,
		);
	return outcome;
}

/** The judge's place is written as seen from the round, so that the run's folder may be moved. */
export async function writeRound(folder: string, outcome: RoundOutcome, settings: Settings): Promise<void> {
	const checkpoint = relative(folder, outcome.checkpoint);
	await writeText(join(folder, "round.json"), `${JSON.stringify({ ...outcome, checkpoint, settings }, null, 2)}\n`);
}

async function parseRound(file: string) {
	try {
		return roundSchema.parse(JSON.parse(await readFile(file, "utf8")));
	} catch (error) {
		throw new RoundError(`${file}: expected a finished round, got ${(error as Error).message}; remove it to play the round again`, {
			cause: error,
		});
	}
}

/** As JSON has them: what is undefined is not there. */
function differencesOf(before: Settings, now: Settings): string[] {
	const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
	return names.flatMap((name) => {
		const [was, is] = [JSON.stringify(before[name]), JSON.stringify(now[name])];
		return was === is ? [] : [`${name}: ${was ?? "nothing"} then, ${is ?? "nothing"} now`];
	});
}
