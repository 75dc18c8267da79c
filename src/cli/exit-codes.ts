/** What the process's exit code says, and which error says it. */
import { CommanderError } from "commander";
import { BackendUnavailableError, SetupError } from "../index.js";
import { Interrupted } from "./interrupt.js";
import { UsageError } from "./usage-error.js";

export const EXIT = { ok: 0, failure: 1, usage: 2, unavailable: 3 } as const;

/** For `--help`. */
export const EXIT_CODES_HELP = `
Exit codes:
  0    done
  1    failed while running (bad data, a file that can't be read, a loss that is not finite, …)
  2    usage: a flag, a config key or an output folder that can't be used; nothing was begun
  3    the backend asked for, or its setup, is not to be had (doctor: something is missing)
  130  stopped by Ctrl-C (143: by SIGTERM); what was finished is on the disk, and the same command goes on from it
       (sample, run, train --resume_from_checkpoint auto)`;

export function exitCodeOf(error: unknown): number {
	if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
	if (error instanceof UsageError) return EXIT.usage;
	if (error instanceof BackendUnavailableError || error instanceof SetupError) return EXIT.unavailable;
	if (error instanceof Interrupted) return error.exitCode;
	return EXIT.failure;
}
