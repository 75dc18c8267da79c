/**
 * What a rollout's text depends on beside its record: the model, the processor, the question and the sampling parameters. Every line of a
 * journal was drawn under the one configuration in its header, and under no other.
 *
 * Not in it, because texts do not depend on them: batch size, the number of samples, which records there are.
 */
import { contentHash } from "../dataset/content-hash.js";

type Value = string | number | boolean;

export interface JournalConfiguration {
	/** What the weights are, such as `{ files: "sha256:…" }` of `checkpointDigest`. */
	model: Readonly<Record<string, Value>>;
	/** What turns records into the model's input: `{ files: "sha256:…", minPixels: 784 }`. */
	processor: Readonly<Record<string, Value>>;
	/** The question, `{prompt}` where the caption goes. */
	promptTemplate: string;
	/** Temperature, seed and the like; `cotConfiguration` gives `generateCoT`'s. */
	sampling: Readonly<Record<string, Value>>;
}

/** The same for the same values, whatever the order of their keys. */
export function configurationDigest(configuration: JournalConfiguration): string {
	return contentHash("journal", JSON.stringify([...flatten(configuration)].sort())).toString("hex");
}

/** Each value that differs: "sampling.temperature: 1 in the journal, 0.7 now". */
export function differencesOf(journal: JournalConfiguration, now: JournalConfiguration): string[] {
	const [before, after] = [flatten(journal), flatten(now)];
	return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((name) => {
		const [was, is] = [before.get(name), after.get(name)];
		return was === is ? [] : [`${name}: ${shown(was)} in the journal, ${shown(is)} now`];
	});
}

function flatten({ promptTemplate, ...groups }: JournalConfiguration): Map<string, Value> {
	const values = Object.entries(groups).flatMap(([group, own]) => Object.entries(own).map(([name, v]) => [`${group}.${name}`, v] as const));
	return new Map<string, Value>([...values, ["promptTemplate", promptTemplate]]);
}

function shown(value: Value | undefined): string {
	if (value === undefined) return "nothing";
	const text = JSON.stringify(value);
	return text.length > 90 ? `${text.slice(0, 87)}…" (${text.length} characters)` : text;
}
