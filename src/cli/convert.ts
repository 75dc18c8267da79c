/** `convert`: kept judgements to conversations to train on. */
import { resolve } from "node:path";
import { readJudgedRollouts, toConversation, writeConversations } from "../index.js";
import { defineCommand } from "./define-command.js";
import { type ConvertOptions, convertOptions } from "./options.js";
import { claimOutputs } from "./outputs.js";
import type { Session } from "./session.js";

/** @returns the number of conversations. @throws the signal's reason; then no file is left. */
export async function convertJudgements(
	filtered: string,
	output: string,
	options: Pick<ConvertOptions, "data_root" | "relative_paths" | "bare_images">,
	{ signal }: Session,
): Promise<number> {
	const { data_root = "", relative_paths, bare_images: bareImages } = options;
	const imageRoot = relative_paths ? data_root : undefined;
	async function* conversations() {
		for await (const rollout of readJudgedRollouts(filtered)) {
			signal.throwIfAborted();
			const [first, second] = rollout.record.images;
			const images = [resolve(data_root, first), resolve(data_root, second)] as const;
			yield toConversation({ ...rollout, record: { ...rollout.record, images } }, { imageRoot, bareImages });
		}
	}
	return writeConversations(output, conversations());
}

export const convertCommand = (session: Session) =>
	defineCommand({
		name: "convert",
		summary: "turn kept judgements into ShareGPT conversations to train on",
		schema: convertOptions,
		example: "tfjs-rft convert --filtered_samples_path results/filtered_samples.json --output_path results/rejection_sampling_train.json",
		async action(options) {
			await claimOutputs([options.output_path], [options.filtered_samples_path], options.overwrite);
			const count = await convertJudgements(options.filtered_samples_path, options.output_path, options, session);
			session.print(`${count} conversations in ${options.output_path}`);
		},
	});
