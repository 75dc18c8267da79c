/**
 * The weights of a checkpoint folder, in memory as the model computes with them.
 *
 * On the native CPU backend a tensor is mapped, or read straight to where it stays, on libuv's threads, two at a time, and cast if its type on disk is another.
 * Elsewhere tensors are read one at a time, largest first, through one scratch buffer that shrinks as they do. Either way no more is in memory
 * than the tensors loaded so far and a copy of the newest; bfloat16 on disk becomes bfloat16 in memory without being widened.
 */
import { bfloat16FromBytes, isBfloat16, toBfloat16, toFloat32 } from "../../backend/bfloat16.js";
import { isInt8, toInt8 } from "../../backend/int8.js";
import { currentNativeBackend } from "../../backend/native-binding.js";
import { canReadTensors, populateMappedTensors, readTensor } from "../../backend/read-tensor.js";
import { tensorFromView } from "../../backend/tensor-from-view.js";
import { type Tensor, type Tensor2D, tidy, type Variable, variable } from "../../backend/tf.js";
import { bytesToFloat32, DTYPE_BYTES } from "../../checkpoint/dtype.js";
import { type Checkpoint, openCheckpoint } from "../../checkpoint/open-checkpoint.js";
import { scaleKey } from "../../nn/parameter-scope.js";
import type { ChosenDtype } from "./choose-dtype.js";
import type { Qwen2_5VLConfig } from "./config.js";
import { matchKeys, weightTable } from "./weights.js";

/** What a matrix is in memory, by its key. What is no matrix is float32. */
export type StorageOf = (key: string) => ChosenDtype["dtype"];

/** Tensors read at once. */
const AT_ONCE = 2;

export const isMatrix = (shape: readonly number[]) => shape.length > 1;

/** @throws if a file is missing or damaged, or a tensor is missing, unexpected or of another shape */
export async function readParameters(config: Qwen2_5VLConfig, dir: string, storageOf: StorageOf): Promise<Map<string, Variable>> {
	const checkpoint = await openCheckpoint(dir);
	const loaded = new Map<string, Variable>();
	try {
		const table = weightTable(config);
		const entries = checkpoint.names().map((name) => checkpoint.entry(name));
		const keys = matchKeys(table, entries, config.tieWordEmbeddings, dir);
		const bySize = [...keys].sort((a, b) => elements(table.get(b[0])) - elements(table.get(a[0])));
		const read = canReadTensors() ? directReader(checkpoint) : scratchReader(checkpoint);
		const rest = bySize.values();
		const worker = async () => {
			for (const [key, name] of rest) {
				const tensor = await read(name, table.get(key)!);
				for (const [part, parameter] of keep(key, tensor, storageOf(key))) loaded.set(part, parameter);
			}
		};
		await allDone(Array.from({ length: canReadTensors() ? AT_ONCE : 1 }, worker));
		populateMappedTensors();
		return inTableOrder(table, loaded);
	} catch (error) {
		for (const parameter of loaded.values()) parameter.dispose();
		throw error;
	} finally {
		await checkpoint.close();
	}
}

/** The parameters that a tensor becomes, and takes over: itself as it is stored in memory, and a scale beside an int8 matrix. */
export function keep(key: string, tensor: Tensor, storage: ChosenDtype["dtype"]): [key: string, parameter: Variable][] {
	if (!isMatrix(tensor.shape) || storage === "float32") return [[key, own(widened(tensor))]];
	if (storage === "bfloat16") return [[key, own(rounded(tensor))]];
	const wide = widened(tensor);
	const { values, scale } = toInt8(wide as Tensor2D);
	wide.dispose();
	return [
		[key, own(values)],
		[scaleKey(key), own(scale)],
	];
}

/** A variable that takes the tensor over; one that is not float32 has no gradient. */
export function own(tensor: Tensor): Variable {
	const owned = variable(tensor, !isBfloat16(tensor) && !isInt8(tensor));
	tensor.dispose();
	return owned;
}

/** A parameter's values in float32. @param change what is read instead of them, of them */
export async function readBack(parameter: Variable, change: (wide: Tensor) => Tensor = (wide) => wide.clone()): Promise<Float32Array> {
	const values = tidy(() => change(isBfloat16(parameter) ? toFloat32<Tensor>(parameter) : parameter));
	try {
		return (await values.data()) as Float32Array;
	} finally {
		values.dispose();
	}
}

/** A tensor of the checkpoint, in float32 or, if it is stored so and the backend has that, in bfloat16. */
type TensorReader = (name: string, shape: number[]) => Promise<Tensor>;

function directReader(checkpoint: Checkpoint): TensorReader {
	return (name, shape) => {
		const { dtype, offset, length } = checkpoint.entry(name);
		return readTensor({ file: checkpoint.fileOf(name), offset, length, dtype, shape });
	};
}

function scratchReader(checkpoint: Checkpoint): TensorReader {
	const scratch: Scratch = { bytes: new ArrayBuffer(0), floats: new ArrayBuffer(0) };
	return async (name, shape) => {
		const { dtype } = checkpoint.entry(name);
		const count = elements(shape);
		const bytes = await checkpoint.read(name, new Uint8Array(shrink(scratch, "bytes", count * DTYPE_BYTES[dtype])));
		if (dtype === "BF16" && currentNativeBackend()) return bfloat16FromBytes(bytes, shape);
		const values =
			dtype === "F32" ? new Float32Array(bytes.buffer, bytes.byteOffset, count) : new Float32Array(shrink(scratch, "floats", count * 4));
		if (dtype !== "F32") bytesToFloat32(bytes, dtype, values);
		return tensorFromView(values, shape as [number]);
	};
}

type Scratch = Record<"bytes" | "floats", ArrayBuffer>;

/** A scratch buffer of exactly `size` bytes; a resizable one, since that gives pages back at once and not when the collector runs. */
function shrink(scratch: Scratch, which: keyof Scratch, size: number): ArrayBuffer {
	const current = scratch[which] as ResizableArrayBuffer;
	if (current.maxByteLength >= size && current.resizable) current.resize(size);
	else scratch[which] = new (ArrayBuffer as ResizableArrayBufferConstructor)(size, { maxByteLength: size });
	return scratch[which];
}

// Part of ES2024; in Node since 20, not yet in the compiler's ES2023 library.
type ResizableArrayBuffer = ArrayBuffer & { readonly resizable: boolean; readonly maxByteLength: number; resize(size: number): void };
type ResizableArrayBufferConstructor = new (size: number, options: { maxByteLength: number }) => ArrayBuffer;

const rounded = (tensor: Tensor) => (isBfloat16(tensor) ? tensor : instead(tensor, toBfloat16));
const widened = (tensor: Tensor) => (isBfloat16(tensor) ? instead(tensor, toFloat32) : tensor);

function instead(tensor: Tensor, convert: (tensor: Tensor) => Tensor): Tensor {
	const converted = convert(tensor);
	tensor.dispose();
	return converted;
}

/** All of them to their end, also where one fails: none may touch the checkpoint once it is closed. */
async function allDone(work: Promise<void>[]): Promise<void> {
	for (const result of await Promise.allSettled(work)) if (result.status === "rejected") throw result.reason;
}

const elements = (shape: readonly number[] | undefined) => (shape ?? []).reduce((product, dim) => product * dim, 1);

function inTableOrder(table: ReadonlyMap<string, unknown>, loaded: Map<string, Variable>): Map<string, Variable> {
	const ordered = [...table.keys()].flatMap((key) => [key, scaleKey(key)].filter((part) => loaded.has(part)));
	return new Map(ordered.map((key) => [key, loaded.get(key)!]));
}
