/** `doctor`: what this machine has and lacks, and the command that brings it. */
import { doctor } from "../index.js";
import { defineCommand } from "./define-command.js";
import { EXIT } from "./exit-codes.js";
import { doctorOptions } from "./options.js";
import type { Session } from "./session.js";

export const doctorCommand = ({ print }: Session) =>
	defineCommand({
		name: "doctor",
		summary: "say what this machine has, what is missing, and the command that brings it",
		schema: doctorOptions,
		example: "tfjs-rft doctor --json",
		async action({ json }) {
			const report = await doctor();
			if (json) print(JSON.stringify(report, null, 2));
			else {
				const width = Math.max(...report.checks.map(({ name }) => name.length));
				for (const { name, ok, found, fix } of report.checks) {
					print(`${ok ? "✓" : "✗"} ${name.padEnd(width)}  ${found}`);
					if (fix !== undefined) print(`  ${" ".repeat(width)}  → ${fix}`);
				}
				print(`\nbackend: ${report.backend}`);
			}
			if (!report.ok) process.exitCode = EXIT.unavailable;
		},
	});
