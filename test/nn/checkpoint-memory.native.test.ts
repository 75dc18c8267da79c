/** Gradient checkpointing lowers the peak memory of a captured graph: TensorFlow neither merges the second run with the first nor runs it early. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";

const PROGRAM = fileURLToPath(new URL("checkpoint-memory.program.ts", import.meta.url));

function measure(how: string): { megabytes: number; checksum: string } {
	return JSON.parse(execFileSync(process.execPath, ["--import", "tsx", PROGRAM, how], { encoding: "utf8", timeout: 60_000 }));
}

it.skipIf(nativeMissing)("keeps one layer's intermediates and not those of 40, for the same gradient", () => {
	const [kept, again] = [measure("keep"), measure("checkpoint")];
	expect(again.checksum).toBe(kept.checksum);
	expect(again.megabytes).toBeLessThan(0.7 * kept.megabytes);
});
