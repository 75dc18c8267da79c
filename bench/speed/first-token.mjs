/**
 * A process from nothing to one token of a two-image prompt, by the built package as a user imports it (`npx tsup` first): imports, TensorFlow, the
 * checkpoint, two images and prefill. The caller measures from before this process started to the line that it prints.
 *
 *     node bench/speed/first-token.mjs CHECKPOINT DTYPE [eager]
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { judgeMessages, loadModel } from "tfjs-rft";

const [folder, dtype, eager] = process.argv.slice(2);
const model = await loadModel(folder, { backend: "native-cpu", dtype, ...(eager && { eager: true }) });
const [{ ids, images }] = JSON.parse(await readFile(join(folder, "workload.json"), "utf8")).prompts;
const read = await model.processor.encodeConversation(judgeMessages(images, ""));
const inputIds = Int32Array.from(ids);
const inputs = model.processor.collate([{ inputIds, assistantMask: new Uint8Array(ids.length), images: read.images }]);
await model.generate(inputs, { maxNewTokens: 1 });
console.log("FIRST_TOKEN");
const peak = process.resourceUsage().maxRSS / 2 ** 20;
console.log(`RESULT ${JSON.stringify({ peak_GiB: { min: peak, median: peak, n: 1 } })}`);
