import { describe } from "vitest";
import { trainingGoldenSuite } from "./golden.suite.js";

describe("training on native-cpu", () => trainingGoldenSuite("native-cpu"));
