import { describe } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { tiedGoldenSuite, trainingGoldenSuite } from "./golden.suite.js";

describe.skipIf(nativeMissing)(`training on native-cpu (${nativeMissing ?? "staged"})`, () => {
	describe("in graphs", () => trainingGoldenSuite("native-cpu"));
	describe("eager", () => trainingGoldenSuite("native-cpu", true));
});
describe.skipIf(nativeMissing)(`tied embeddings on native-cpu (${nativeMissing ?? "staged"})`, () => tiedGoldenSuite("native-cpu"));
