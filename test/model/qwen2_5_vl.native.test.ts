import { describe } from "vitest";
import { goldenSuite } from "./qwen2_5_vl.golden.js";

describe("Qwen2.5-VL on native-cpu", () => goldenSuite("native-cpu"));
