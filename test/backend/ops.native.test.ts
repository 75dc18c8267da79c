import { describe, it } from "vitest";
import { nativeMissing } from "./native-runtime.js";
import { describeOpContract } from "./ops.contract.js";

if (nativeMissing) {
	describe("op contract on native-cpu", () => {
		it.skip(`skipped: ${nativeMissing}`, () => {});
	});
} else {
	describeOpContract("native-cpu");
}
