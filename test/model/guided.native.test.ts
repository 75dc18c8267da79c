import { describe } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { guidedSuite } from "./guided.golden.js";

describe.skipIf(nativeMissing)(`guided generation on native-cpu (${nativeMissing ?? "staged"})`, () => guidedSuite("native-cpu"));
