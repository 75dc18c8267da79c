/** The launcher that TRL and LightRFT share. On several nodes each has its NODE_RANK, and all the first one's MASTER_ADDR. */
import type { Plan } from "./engine.js";
import { commandLine } from "./shell.js";

/** @param program words after torchrun's own; quoted here */
export function torchrun({ nodes, gpus }: Pick<Plan, "nodes" | "gpus">, program: readonly (string | number)[]): string {
	const place = `--node_rank "\${NODE_RANK:-0}" --master_addr "\${MASTER_ADDR:-127.0.0.1}" --master_port "\${MASTER_PORT:-20091}"`;
	return `torchrun --nnodes ${nodes} --nproc_per_node ${gpus} ${place} ${commandLine(program)}`;
}
