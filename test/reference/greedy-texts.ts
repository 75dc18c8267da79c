/**
 * Writes our greedy judgements of the first records of a data set as JSON, for check_greedy.py to compare with transformers.
 *
 *     npx tsx test/reference/greedy-texts.ts CHECKPOINT hpdv3:DATA.json OUT.json [RECORDS] [PROMPT.txt]
 */
import { writeFile } from "node:fs/promises";
import { loadDataset } from "../../src/dataset/load-dataset.js";
import { shownImages } from "../../src/dataset/preference-record.js";
import { loadModel } from "../../src/model/qwen2_5_vl/load.js";
import { fillTemplate, judgeMessages, readPromptTemplate } from "../../src/sampler/prompt.js";

const [checkpoint, data, out, records = "20", promptFile] = process.argv.slice(2);
const template = promptFile ? await readPromptTemplate(promptFile) : "{prompt}";
const model = await loadModel(checkpoint);
const conversations = [];
for await (const record of loadDataset(data, { order: "both", limit: Number(records) })) {
	conversations.push(judgeMessages(shownImages(record), fillTemplate(template, record.prompt)));
}
const inputs = await model.processor.encode(conversations, { addGenerationPrompt: true });
const { tokens, texts } = await model.generate(inputs, { maxNewTokens: 200 });
const rows = conversations.map((messages, i) => ({ messages, tokens: [...tokens[i]], text: texts[i] }));
await writeFile(out, JSON.stringify({ checkpoint, maxNewTokens: 200, rows }));
console.log(`${rows.length} judgements of ${checkpoint} written to ${out}; ${model.backendReason}`);
