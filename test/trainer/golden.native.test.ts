import { describe } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { trainingGoldenSuite } from "./golden.suite.js";

describe.skipIf(nativeMissing)(`training on native-cpu (${nativeMissing ?? "staged"})`, () => trainingGoldenSuite("native-cpu"));
