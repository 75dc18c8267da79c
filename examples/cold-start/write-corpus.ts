/**
 * The text that the judge's tokenizer is trained on: drills and descriptions, a NUL between two texts.
 *
 *     npx tsx examples/cold-start/write-corpus.ts corpus.txt
 */
import { readFile, writeFile } from "node:fs/promises";
import { drillLesson, SEE_PROMPT } from "./lessons.js";

const COUNT = 4000;

const [file] = process.argv.slice(2);
if (!file) throw new Error("write-corpus.ts: expected the file to write as argument, got none");
const template = await readFile(new URL("../judge/prompt.txt", import.meta.url), "utf8");
const texts = Array.from({ length: COUNT }, (_, i) => drillLesson(`corpus/${i}`, template)).flatMap(({ human, gpt }) => [
	human,
	gpt,
	SEE_PROMPT,
	"user\n",
	"assistant\n",
	"system\nYou are a helpful assistant.",
]);
await writeFile(file, texts.join("\0"));
console.log(`${file}: ${texts.length} texts`);
