/** What a checkpoint folder holds, as two hashes over file names and contents: one of what computes, one of what prepares its input. */
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileSha256 } from "./file-sha256.js";

/** "sha256:" and 64 hex digits each. */
export interface CheckpointDigest {
	/** Weights, config.json and generation_config.json; or an adapter and its settings. */
	model: string;
	/** Tokenizer, chat template, image settings. */
	processor: string;
}

const MODEL_FILES = /^(config|generation_config|adapter_config)\.json$|\.safetensors(\.index\.json)?$/;
const PROCESSOR_FILES =
	/^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|preprocessor_config|processor_config|video_preprocessor_config)\.json$|^merges\.txt$|^chat_template\.jinja$/;

/**
 * Reads every file of the folder once (about a second for 1.5 GB).
 * @throws the file system's error for a folder or file that can't be read
 */
export async function checkpointDigest(dir: string, { signal }: { signal?: AbortSignal } = {}): Promise<CheckpointDigest> {
	const names = (await readdir(dir)).sort();
	const digest = async (pattern: RegExp) => {
		const hash = createHash("sha256");
		for (const name of names.filter((name) => pattern.test(name))) {
			hash.update(JSON.stringify([name, await fileSha256(join(dir, name), signal)]));
		}
		return `sha256:${hash.digest("hex")}`;
	};
	return { model: await digest(MODEL_FILES), processor: await digest(PROCESSOR_FILES) };
}
