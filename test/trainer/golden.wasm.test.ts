import { describe } from "vitest";
import { tiedGoldenSuite, trainingGoldenSuite } from "./golden.suite.js";

describe("training on wasm", () => trainingGoldenSuite("wasm"));
describe("tied embeddings on wasm", () => tiedGoldenSuite("wasm"));
