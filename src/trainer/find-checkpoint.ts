/**
 * Which checkpoint a run goes on from: the one that is named, or the newest whole one of a folder that holds several. A checkpoint whose
 * files are not what was written is never trained on.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { findDamage } from "./checksums.js";
import { checkpointFolder, checkpointSteps } from "./training-checkpoint.js";

/** A checkpoint that was passed over. */
export interface DamagedCheckpoint {
	dir: string;
	/** For a person. */
	damage: string;
}

/**
 * @param dir a `checkpoint-<step>` folder, or one that holds some
 * @param onDamaged hears of those that are passed over
 * @returns a checkpoint's folder
 * @throws for a named one that is damaged, with the newest whole one beside it; where there is none at all
 */
export async function findCheckpoint(dir: string, onDamaged: (damaged: DamagedCheckpoint) => void = () => {}): Promise<string> {
	const isCheckpoint = existsSync(path.join(dir, "trainer_state.json"));
	const steps = await checkpointSteps(dir);
	if (!isCheckpoint && steps.length === 0) {
		throw new Error(
			`${dir}: nothing to resume from: expected a checkpoint-<step> folder with a trainer_state.json, or a folder that holds some`,
		);
	}
	if (isCheckpoint) {
		const damage = await findDamage(dir);
		if (damage === undefined) return dir;
		const others = await newestWhole(path.dirname(dir), dir);
		const wayOut = others ? `resume from ${others}, the newest whole one` : "there is no whole one beside it: begin anew";
		throw new Error(`${dir} can't be resumed: ${damage}; ${wayOut}`);
	}
	const found = await newestWhole(dir, undefined, onDamaged);
	if (found !== undefined) return found;
	throw new Error(`${dir}: none of its ${steps.length} checkpoints is whole; begin anew, from the model or one checkpoint's weights`);
}

async function newestWhole(
	savePath: string,
	except?: string,
	onDamaged?: (damaged: DamagedCheckpoint) => void,
): Promise<string | undefined> {
	for (const step of await checkpointSteps(savePath)) {
		const dir = checkpointFolder(savePath, step);
		if (except !== undefined && path.resolve(dir) === path.resolve(except)) continue;
		const damage = await findDamage(dir);
		if (damage === undefined) return dir;
		onDamaged?.({ dir, damage });
	}
	return undefined;
}
