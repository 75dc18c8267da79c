/** `setup`: brings the native runtime. */
import { type SetupProgress, setup } from "../index.js";
import { defineCommand } from "./define-command.js";
import { setupOptions } from "./options.js";
import type { Session, Stage } from "./session.js";

const MEGABYTE = 1e6;

export const setupCommand = (session: Session) =>
	defineCommand({
		name: "setup",
		summary: "bring the native runtime: TensorFlow's kernels and the addon, into a user cache folder",
		schema: setupOptions,
		example: "tfjs-rft setup --device cpu",
		async action({ device, wheel }) {
			const progress = stepProgress(session);
			try {
				const result = await setup({ device, wheel, signal: session.signal, onProgress: progress.report });
				progress.end();
				session.print(`${result.alreadyStaged ? "already set up" : "set up"}: ${result.flavour} (${result.reason}), in ${result.folder}`);
			} finally {
				progress.end();
			}
		},
	});

/** Steps of a known length get a bar in megabytes, the others a line. */
function stepProgress({ stage, note }: Session) {
	let [bar, current, said]: [Stage | undefined, string, string] = [undefined, "", ""];
	const end = () => {
		bar?.end();
		bar = undefined;
	};
	return {
		end,
		report({ step, detail, doneBytes, totalBytes }: SetupProgress) {
			if (step !== current || totalBytes === undefined) end();
			current = step;
			if (detail !== said) note(`${step}: ${detail}`);
			said = detail;
			if (totalBytes === undefined || doneBytes === undefined) return;
			bar ??= stage(step);
			bar.update(Math.round(doneBytes / MEGABYTE), Math.round(totalBytes / MEGABYTE), "MB");
		},
	};
}
