/**
 * Arguments and results of a compiled function: tensors in arrays and records, at any depth, and among the arguments values that
 * are not tensors. A tensor counts by shape and type; everything else is part of the function's signature.
 */
import { isBfloat16 } from "../bfloat16.js";
import { Tensor, Variable } from "../tf.js";
import { ResourceVariable } from "./resource-variable.js";

/** A tensor, or arrays and records of tensors. */
export type TensorStructure = Tensor | readonly TensorStructure[] | { readonly [key: string]: TensorStructure };

/** What a call was given. */
export interface Arguments {
	/** Shapes, types and values that are not tensors: equal keys may share a graph. */
	key: string;
	/** In the order in which `replaceTensors` meets them. Variables are not among them: they count by identity. */
	tensors: Tensor[];
	/** Handles of the resource variables among them, each once. */
	handles: Tensor[];
}

/**
 * Reads the arguments of a call.
 *
 * @throws TypeError for what can be neither an input nor a constant of the graph, with its place
 */
export function readArguments(args: readonly unknown[]): Arguments {
	const found = { tensors: [], handles: [] };
	const key = args.map((arg, i) => describe(arg, `argument ${i + 1}`, found)).join();
	return { key, ...found };
}

function describe(value: unknown, place: string, found: Omit<Arguments, "key">): string {
	if (value instanceof ResourceVariable) return describeResource(value, found.handles);
	if (value instanceof Variable) return `variable ${value.id}`;
	if (value instanceof Tensor) {
		found.tensors.push(value);
		return `${isBfloat16(value) ? "bfloat16" : value.dtype}[${value.shape}]`;
	}
	if (Array.isArray(value)) return `[${value.map((element, i) => describe(element, `${place}[${i}]`, found)).join()}]`;
	if (isRecord(value)) {
		const entries = Object.entries(value);
		return `{${entries.map(([name, member]) => `${JSON.stringify(name)}:${describe(member, `${place}.${name}`, found)}`).join()}}`;
	}
	if (typeof value === "string") return JSON.stringify(value);
	if (value === null || ["undefined", "boolean", "number", "bigint"].includes(typeof value)) return String(value);
	const got = typeof value === "object" ? `a ${value?.constructor.name}` : `a ${typeof value}`;
	throw new TypeError(
		`compile: ${place} is ${got}; expected tensors, numbers, strings, booleans, or arrays and plain objects of them. ` +
			"Make a tensor of numbers that change from call to call; close over what stays the same",
	);
}

/** Its number is part of the key: a variable given twice is another signature than two variables. */
function describeResource({ handle, dtype, shape }: ResourceVariable, handles: Tensor[]): string {
	if (!handle) throw new TypeError("compile: a resource variable made on another backend is an argument; make it after selectBackend");
	if (!handles.includes(handle)) handles.push(handle);
	return `resource ${handles.indexOf(handle)} ${dtype}[${shape}]`;
}

/** The same structure with other tensors; variables and values that are not tensors stay. */
export function replaceTensors(value: unknown, replace: (tensor: Tensor) => Tensor): unknown {
	if (value instanceof Variable) return value;
	if (value instanceof Tensor) return replace(value);
	if (Array.isArray(value)) return value.map((element) => replaceTensors(element, replace));
	if (!isRecord(value)) return value;
	return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, replaceTensors(member, replace)]));
}

/** What a call returned. */
export interface ResultStructure {
	tensors: Tensor[];
	/** The same structure made of other tensors, in the same order. */
	rebuild(tensors: readonly Tensor[]): unknown;
}

/**
 * Reads a result; nothing (`undefined`) is one as well.
 *
 * @throws TypeError for a result that holds something else than tensors
 */
export function readResult(value: unknown): ResultStructure {
	const tensors: Tensor[] = [];
	const build = builder(value, "the result", tensors);
	return { tensors, rebuild: (others) => build(others.values()) };
}

type Builder = (tensors: Iterator<Tensor>) => unknown;

function builder(value: unknown, place: string, tensors: Tensor[]): Builder {
	if (value === undefined) return () => undefined;
	if (value instanceof Tensor) {
		tensors.push(value);
		return (others) => others.next().value;
	}
	if (Array.isArray(value)) {
		const elements = value.map((element, i) => builder(element, `${place}[${i}]`, tensors));
		return (others) => elements.map((build) => build(others));
	}
	if (isRecord(value)) {
		const members = Object.entries(value).map(([name, member]) => [name, builder(member, `${place}.${name}`, tensors)] as const);
		return (others) => Object.fromEntries(members.map(([name, build]) => [name, build(others)]));
	}
	const got = value instanceof Promise ? "a Promise, and a compiled function is not async" : `${value}`;
	throw new TypeError(`compile: ${place} is ${got}; expected a tensor, or an array or plain object of tensors`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
	if (typeof value !== "object" || value === null) return false;
	const prototype: unknown = Object.getPrototypeOf(value);
	return prototype === Object.prototype || prototype === null;
}
