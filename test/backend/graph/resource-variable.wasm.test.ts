/** Without the native backend a resource variable is an ordinary tensor, and gives the same. */
import { beforeAll, describe } from "vitest";
import { selectBackend } from "../../../src/backend/select-backend.js";
import { resourceVariableCases } from "./resource-variable.cases.js";

describe("resource variable, wasm", () => {
	beforeAll(() => selectBackend("wasm"));
	resourceVariableCases();
});
