/**
 * Which parameters are not trained. A pattern is a regular expression over the whole name of a parameter, the hub's spelling
 * (`visual.blocks.0.attn.qkv.weight`), or the name of a preset; `visual.*` is every parameter of the vision tower and its merger.
 */
import type { Variable } from "../backend/tf.js";

/** What people freeze most, by the names that Qwen's vision-language checkpoints have. */
export const FREEZE_PRESETS = {
	/** The vision tower without its merger (LLaMA-Factory's freeze_vision_tower). */
	vision_tower: "visual\\.(?!merger\\.).*",
	/** What brings image features to the decoder's width (freeze_multi_modal_projector). */
	merger: "visual\\.merger\\..*",
	/** The token embeddings; of a model with tied embeddings the head, too. */
	embeddings: "model\\.embed_tokens\\.weight",
} as const satisfies Record<string, string>;

/**
 * @param patterns presets and regular expressions
 * @returns whether a parameter is frozen
 * @throws for a pattern that is no regular expression
 */
export function frozenBy(patterns: readonly string[]): (name: string) => boolean {
	const expressions = patterns.map(toExpression);
	return (name) => expressions.some((expression) => expression.test(name));
}

/**
 * The parameters that are left to train.
 *
 * @throws where a pattern fits no parameter (a slip, most likely), or nothing is left
 */
export function trainableParameters<T>(parameters: ReadonlyMap<string, T>, patterns: readonly string[]): Map<string, T> {
	const names = [...parameters.keys()];
	for (const pattern of patterns) {
		const expression = toExpression(pattern);
		if (names.some((name) => expression.test(name))) continue;
		throw new Error(
			`freeze: ${JSON.stringify(pattern)} fits none of ${names.length} parameters, such as ${names[0]}; expected a regular expression over the whole name, ` +
				`or ${Object.keys(FREEZE_PRESETS).join(", ")}`,
		);
	}
	const frozen = frozenBy(patterns);
	const left = new Map([...parameters].filter(([name]) => !frozen(name)));
	if (left.size === 0) throw new Error(`freeze: ${patterns.join(", ")} freeze all ${names.length} parameters; leave some to train`);
	return left;
}

/**
 * Takes the others out of the gradient tape, so that nothing is computed for them.
 * @throws for a parameter that is to be trained and has no float32 weights
 * @returns puts them back
 */
export function holdFrozen(parameters: ReadonlyMap<string, Variable>, trained: ReadonlyMap<string, Variable>): () => void {
	for (const [name, variable] of trained) {
		if (variable.trainable) continue;
		throw new Error(`freeze: ${name} was loaded frozen, without float32 weights to train; freeze it here, too, or load it without`);
	}
	const held = [...parameters].filter(([name, { trainable }]) => trainable && !trained.has(name)).map(([, variable]) => variable);
	for (const variable of held) variable.trainable = false;
	return () => {
		for (const variable of held) variable.trainable = true;
	};
}

function toExpression(pattern: string): RegExp {
	const source = Object.hasOwn(FREEZE_PRESETS, pattern) ? FREEZE_PRESETS[pattern as keyof typeof FREEZE_PRESETS] : pattern;
	try {
		return new RegExp(`^(?:${source})$`);
	} catch (cause) {
		throw new Error(`freeze: ${JSON.stringify(pattern)} is no regular expression: ${(cause as Error).message}`, { cause });
	}
}
