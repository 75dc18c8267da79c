/** Writes three steps of metrics for read_tensorboard.py. */
import { MetricsLog } from "../../src/trainer/metrics-log.js";

const log = await MetricsLog.open(process.argv[2]);
for (const step of [1, 2, 3]) {
	await log.write(step, { "train/loss": 2 / step, "train/learning_rate": 0.25 * step, "train/tokens_per_second": 1000 + step });
}
await log.write(3, { "eval/accuracy": 0.75 });
await log[Symbol.asyncDispose]();
