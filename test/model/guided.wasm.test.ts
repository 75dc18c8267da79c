import { describe } from "vitest";
import { guidedSuite } from "./guided.golden.js";

describe("guided generation on wasm", () => guidedSuite("wasm"));
