/** Where an adapter goes in a model: its settings against the model's table of weights. */
import type { AdapterConfig } from "./adapter-config.js";
import { isSaved, isTarget, rankOf, scalingOf } from "./target-modules.js";

export interface AdaptedMatrix {
	/** A is [rank, in], B is [out, rank]. */
	rank: number;
	in: number;
	out: number;
	scaling: number;
}

export interface AdapterPlan {
	/** By the matrix's key. */
	matrices: Map<string, AdaptedMatrix>;
	/** Keys of the parameters of `modules_to_save`. */
	saved: Set<string>;
}

export interface PlanOptions {
	/** Names of a module that the settings may mean, by its key; the first is the one to count. */
	namesOf: (module: string) => readonly string[];
	/** The head is the embedding matrix. */
	tied: boolean;
}

const module = (key: string) => key.replace(/\.(weight|bias)$/, "");
const isEmbedding = (key: string) => key.endsWith("embed_tokens.weight");

/** Keys of a matrix's adapter. */
export const loraKeys = (key: string) => [`${module(key)}.lora_A.weight`, `${module(key)}.lora_B.weight`] as const;

/**
 * @param table every parameter of the model with its shape
 * @throws where the settings fit no module, or one that can have no adapter
 */
export function planAdapter(config: AdapterConfig, table: ReadonlyMap<string, number[]>, { namesOf, tied }: PlanOptions): AdapterPlan {
	const plan: AdapterPlan = { matrices: new Map(), saved: new Set() };
	const named = [...table].map(([key, shape]) => ({ key, shape, names: namesOf(module(key)) }));
	for (const { key, shape, names } of named) {
		if (names.some((name) => isSaved(config, name))) plan.saved.add(key);
		else if (
			key.endsWith(".weight") &&
			shape.length > 1 &&
			names.some((name) => isTarget(config, name)) &&
			takesAdapter(key, shape, config)
		) {
			const [out, width] = shape;
			plan.matrices.set(key, { rank: rankOf(config, names[0]), scaling: scalingOf(config, names[0]), out, in: width });
		}
	}
	if (plan.matrices.size === 0) throw fitsNone("target_modules", config.target_modules, named);
	for (const saved of config.modules_to_save ?? []) {
		const own = { ...config, modules_to_save: [saved] };
		if (!named.some(({ names }) => names.some((name) => isSaved(own, name)))) throw fitsNone("modules_to_save", saved, named);
	}
	if (tied && [...plan.saved].some(isEmbedding)) {
		throw new Error(
			"adapter: modules_to_save holds the token embeddings, which are this model's head, too: PEFT trains a copy of one of the two. Leave it out",
		);
	}
	return plan;
}

/** @returns false for what `all-linear` does not mean. @throws for a convolution or embedding that is named */
function takesAdapter(key: string, shape: readonly number[], { target_modules }: AdapterConfig): boolean {
	if (shape.length === 2 && !isEmbedding(key)) return true;
	if (target_modules === "all-linear") return false;
	throw new Error(
		`adapter: target_modules ${JSON.stringify(target_modules)} name ${module(key)}, which is ${isEmbedding(key) ? "an embedding" : "a convolution"}; ` +
			"expected linear layers. Leave it out with exclude_modules, or train it whole: modules_to_save",
	);
}

function fitsNone(what: string, given: unknown, named: readonly { names: readonly string[] }[]): Error {
	const example = named.find(({ names: [name] }) => name.endsWith("q_proj"))?.names[0] ?? named[0].names[0];
	return new Error(
		`adapter: ${what} ${JSON.stringify(given)} fits no module; expected ends of names such as ${example}, or for target_modules a regular expression over whole names, or all-linear`,
	);
}
