import { useNative } from "./native.js";

/** What a caller may ask for; every name but `auto` is taken literally and never replaced by another. */
export type BackendRequest = "auto" | BackendName;
/** A backend as it is reported. */
export type BackendName = "native-gpu" | "native-cpu" | "wasm" | "cpu";

/** The backend that was made current, and why this one. */
export interface SelectedBackend {
	name: BackendName;
	/** One line for a person: what was taken and, for each better candidate, why it was not. */
	reason: string;
}

/** Placeholder body being replaced by the backend work. */
export async function selectBackend(request: BackendRequest = "auto"): Promise<SelectedBackend> {
	await useNative();
	return { name: "native-cpu", reason: `asked for ${request}` };
}
