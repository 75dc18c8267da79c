/**
 * Writes three steps of metrics and two evaluations with a judgement each for read_tensorboard.py and replay_wandb.py, and the numbers of a sampling stage:
 *
 *     npx tsx test/reference/write_events.ts FOLDER
 */
import { join, resolve } from "node:path";
import { correct, filterRollouts, MetricsLog, samplingScalars, wellFormed } from "../../src/index.js";
import { judgeRollout } from "../../src/reward/judge-rollout.js";
import { rollout } from "../reward/rollouts.js";
import { judgement, record } from "../sampler/records.js";

const folder = process.argv[2];
if (!folder) throw new Error("usage: write_events.ts FOLDER");

const images = ["0000a.jpg", "0000b.jpg"].map((name) => resolve("examples/data/heldout", name)) as [string, string];
const NASTY = "# big\n<script>alert(1)</script> ![p](https://evil.example/a.png)\n```\n</code><img src=x onerror=alert(1)>\n";
const pair = record(0, { key: "3fa4c1d2e5", images, prompt: `a "größer" ball ${NASTY}` });
const said = (text: string) => judgeRollout(rollout(0, text, { record: pair }));

const training = await MetricsLog.open(join(folder, "train"));
for (const step of [1, 2, 3]) {
	await training.write(step, { "train/loss": 2 / step, "train/learning_rate": 0.25 * step, "train/tokens_per_second": 1000 + step });
	if (step === 2) continue;
	await training.write(step, { "eval/accuracy": 0.25 * step, "eval/loss": 1 / step });
	await training.judgements(step, [said(step === 1 ? NASTY : judgement(2))]);
}
await training[Symbol.asyncDispose]();

const sampling = await MetricsLog.open(join(folder, "sample"));
const kept = filterRollouts([rollout(0, judgement(2)), rollout(1, judgement(1)), rollout(2, "?")], [wellFormed(), correct()]);
for await (const _ of kept);
const input = { rows: 5, records: 3, bad: { "missing-image": 2 }, ties: 0 } as const;
await sampling.write(kept.report.total, samplingScalars(kept.report, input));
await sampling[Symbol.asyncDispose]();
