/** YAML as Python's reader takes it, which is version 1.1: there a bare `no` is false, and 5e-7 without a point is text. */
import { stringify } from "yaml";

export function pythonYaml(values: Readonly<Record<string, unknown>>): string {
	return stringify(values, { version: "1.1", lineWidth: 0 }).replace(/^(\w+: -?\d+)e-/gm, "$1.0e-");
}
