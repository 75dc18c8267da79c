/** Flags of `sample` that spread it over a Ray cluster. */
import { flag, real, text, whole } from "../flag.js";

export const rayFlags = {
	ray: flag(text().optional(), "sample on a Ray cluster: address of its dashboard, http://HOST:8265", "ADDRESS"),
	shards: flag(whole().optional(), "with --ray: jobs, each with its part of the pairs; default: 4", "N"),
	ray_command: flag(
		text().optional(),
		"with --ray: how a node calls this program, such as 'npx tfjs-rft'; default: this Node.js with this program, at their paths here",
		"COMMAND",
	),
	ray_cpus: flag(real(0).default(1), "with --ray: CPUs that a shard holds; 0: none, and it runs on the head node", "N"),
	ray_gpus: flag(real(0).default(0), "with --ray: GPUs that a shard holds", "N"),
	ray_retries: flag(whole(0).default(3), "with --ray: times that a lost shard is submitted again", "N"),
};

export const RAY_FLAGS = Object.keys(rayFlags) as (keyof typeof rayFlags)[];
