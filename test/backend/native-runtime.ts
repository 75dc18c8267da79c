/** Whether this machine has the native runtime, for tests that cannot do without it. */
import { findStagedRuntime } from "../../src/backend/setup/staged-runtime.js";

const runtime = findStagedRuntime("cpu");

/** Undefined where the runtime is staged; else the reason for skipping, to be shown in the test's name. */
export const nativeMissing: string | undefined = "missing" in runtime ? `${runtime.missing}; run \`npx tfjs-rft setup\`` : undefined;
