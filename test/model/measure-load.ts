/** Loads a checkpoint in a process of its own, in a type, and prints its weights' bytes and how far resident memory rose, at its highest. */
import { readFileSync } from "node:fs";
import { selectBackend } from "../../src/backend/select-backend.js";
import { tensorFromView } from "../../src/backend/tensor-from-view.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import { weightTable } from "../../src/model/qwen2_5_vl/weights.js";

const status = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;

const backend = (await selectBackend("auto")).name;
tensorFromView(new Float32Array(4), [4]).dispose(); // the runtime's own start-up is not the checkpoint's
const before = status("VmRSS");
const [, , dir, dtype] = process.argv as [string, string, string, "float32" | "bfloat16"];
const model = await loadModel(dir, { backend, dtype });
const table = [...weightTable(model.config).values()];
const bytes = (shape: number[]) => (dtype === "bfloat16" && shape.length > 1 ? 2 : 4) * shape.reduce((a, b) => a * b, 1);
const weights = table.reduce((sum, shape) => sum + bytes(shape), 0);
process.stdout.write(JSON.stringify({ weights, peak: status("VmHWM") - before }));
