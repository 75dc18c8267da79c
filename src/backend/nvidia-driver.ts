import { existsSync } from "node:fs";
import path from "node:path";

const LIBRARY_FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"];

/** The file that shows an NVIDIA driver on this machine (libcuda or the kernel module), else undefined. No GPU is touched. */
export function findNvidiaDriver(env: NodeJS.ProcessEnv = process.env): string | undefined {
	const extra = (env.LD_LIBRARY_PATH ?? "").split(path.delimiter).filter(Boolean);
	const libraries = [...LIBRARY_FOLDERS, ...extra].map((folder) => path.join(folder, "libcuda.so.1"));
	return ["/proc/driver/nvidia/version", ...libraries].find((file) => existsSync(file));
}
