/** launch.sh: the engine's command, and what our commands need beside the weights where the engine leaves it out. */
import { join } from "node:path";
import type { Handover, Plan } from "./engine.js";
import { quote } from "./shell.js";

/** Any of them does; the first is copied. */
const BESIDE_WEIGHTS = [
	["preprocessor_config.json", "processor_config.json"],
	["chat_template.jinja", "chat_template.json"],
	["tokenizer.json"],
	["tokenizer_config.json"],
];

/** @param question whether the plan's folder has the judge's question, as prompt.txt */
export function launchScript(title: string, { folder, pretrain }: Plan, { command, env, model }: Handover, question: boolean): string {
	const exports_ = Object.entries(env).map(([name, value]) => `export ${name}="\${${name}:-${value.replaceAll(/["$`\\]/g, "\\$&")}}"`);
	return `#!/bin/bash
# Trains with ${title}; written by tfjs-rft. With several nodes it runs on each, with NODE_RANK, MASTER_ADDR and MASTER_PORT.
set -euo pipefail
${exports_.map((line) => `${line}\n`).join("")}${command}

[ "\${NODE_RANK:-0}" = 0 ] || exit 0
from=${quote(pretrain)} model=${quote(model)}
${BESIDE_WEIGHTS.map(copyMissing).join("\n")}
${question ? `cp ${quote(join(folder, "prompt.txt"))} "$model/prompt.txt"\n` : ""}`;
}

function copyMissing(names: string[]): string {
	const isThere = names.map((name) => `[ -e "$model/${name}" ]`).join(" || ");
	return names.map((name) => `${isThere} || [ ! -e "$from/${name}" ] || cp "$from/${name}" "$model/"`).join("\n");
}
