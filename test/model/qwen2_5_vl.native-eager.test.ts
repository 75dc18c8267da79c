import { describe } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { goldenSuite } from "./qwen2_5_vl.golden.js";

describe.skipIf(nativeMissing)(`Qwen2.5-VL on native-cpu, eager (${nativeMissing ?? "staged"})`, () =>
	goldenSuite("native-cpu", { eager: true }),
);
