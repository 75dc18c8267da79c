/** Both spellings of a flag, aliases, and what must not be touched. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { normaliseFlags, normaliseKey } from "../../src/cli/normalise-flags.js";

const NAMES = ["max_new_tokens", "use_cot", "no-use_cot", "log_dir"];

describe("normaliseFlags", () => {
	it("takes dashes and underscores alike, with a value behind = or after", () => {
		const argv = ["sample", "--max-new-tokens", "8", "--max-new_tokens=9", "--no-use-cot", "--no_use_cot", "--use-cot"];
		const declared = ["sample", "--max_new_tokens", "8", "--max_new_tokens=9", "--no-use_cot", "--no-use_cot", "--use_cot"];
		expect(normaliseFlags(argv, NAMES)).toEqual(declared);
	});

	it("gives aliases their declared name", () => {
		const aliases = { use_tensorboard: "log_dir" };
		expect(normaliseFlags(["--use-tensorboard", "tb", "--use_tensorboard=tb"], NAMES, aliases)).toEqual([
			"--log_dir",
			"tb",
			"--log_dir=tb",
		]);
		expect(["use-tensorboard", "max-new-tokens", "log_dir"].map((key) => normaliseKey(key, aliases))).toEqual([
			"log_dir",
			"max_new_tokens",
			"log_dir",
		]);
	});

	it("leaves unknown flags as typed, values, and everything after --", () => {
		const argv = ["--max-new-token", "--x=--max-new-tokens", "-m", "max-new-tokens", "--", "--max-new-tokens"];
		expect(normaliseFlags(argv, NAMES)).toEqual(argv);
	});

	it("is the identity on declared names, whatever stands between", () => {
		const words = fc.array(fc.oneof(fc.constantFrom(...NAMES.map((name) => `--${name}`)), fc.string()));
		fc.assert(
			fc.property(words, (argv) => {
				const once = normaliseFlags(argv, NAMES);
				expect(normaliseFlags(once, NAMES)).toEqual(once);
				expect(once).toHaveLength(argv.length);
			}),
		);
	});
});
