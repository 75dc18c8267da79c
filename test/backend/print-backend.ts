/** Prints what `selectBackend("auto")` answers in a process of its own. */
import { selectBackend } from "../../src/backend/select-backend.js";

process.stdout.write(`${(await selectBackend("auto")).reason}\n`);
