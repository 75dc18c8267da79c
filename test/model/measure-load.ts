/** Loads a checkpoint in a process of its own and prints how far resident memory rose, at its highest, while it did. */
import { readFileSync } from "node:fs";
import { selectBackend } from "../../src/backend/select-backend.js";
import { tensorFromView } from "../../src/backend/tensor-from-view.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";

const status = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;

const backend = (await selectBackend("auto")).name;
tensorFromView(new Float32Array(4), [4]).dispose(); // the runtime's own start-up is not the checkpoint's
const before = status("VmRSS");
const model = await loadModel(process.argv[2], { backend });
const weights = [...model.namedParameters().values()].reduce((sum, p) => sum + 4 * p.size, 0);
process.stdout.write(JSON.stringify({ weights, peak: status("VmHWM") - before }));
