/**
 * A ShareGPT conversation as LLaMA-Factory and LightRFT read it: one `<image>` in the human turn per entry of
 * `images`, images in the order in which they were shown.
 */
export interface ShareGptConversation {
	conversations: { from: "human" | "gpt" | "system"; value: string }[];
	/** Paths; relative ones are relative to the trainer's data root. */
	images: string[];
	/** Where the row came from; trainers ignore it. */
	provenance?: {
		key: string;
		source: string;
		row: number;
		order: readonly [number, number];
		sampleIndex: number;
		seed: number;
		preferred: 0 | 1;
	};
}
