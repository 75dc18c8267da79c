/** Without oneDNN, whose fused ops round otherwise, graphs are held to a tighter bound. */
import { describe } from "vitest";
import { nativeMissing } from "../backend/native-runtime.js";
import { trainingGoldenSuite } from "./golden.suite.js";

process.env.TF_ENABLE_ONEDNN_OPTS = "0"; // read when the library is loaded: before the first model

describe.skipIf(nativeMissing)("training on native-cpu in graphs, oneDNN off", () => trainingGoldenSuite("native-cpu"));
