/** LLaMA-Factory's dataset_info.json for the files beside it: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md */
const TAGS = { role_tag: "from", content_tag: "value", user_tag: "human", assistant_tag: "gpt" };
const COLUMNS = { messages: "conversations", images: "images" };

/** @param files of the kinds that LLaMA-Factory trains on; a data set is named after its kind: `--dataset rft_sft`. */
export function datasetInfo(files: { sft?: string; dpo?: string }): string {
	const info = {
		...(files.sft && { rft_sft: { file_name: files.sft, formatting: "sharegpt", columns: COLUMNS, tags: TAGS } }),
		...(files.dpo && {
			rft_dpo: {
				file_name: files.dpo,
				formatting: "sharegpt",
				ranking: true,
				columns: { ...COLUMNS, chosen: "chosen", rejected: "rejected" },
				tags: TAGS,
			},
		}),
	};
	return `${JSON.stringify(info, null, 2)}\n`;
}
