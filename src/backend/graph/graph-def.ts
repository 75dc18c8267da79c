/**
 * TensorFlow's GraphDef, written byte by byte: the nodes that `addFunction` makes a function of.
 *
 * Field numbers from tensorflow/core/framework: graph.proto, node_def.proto, attr_value.proto, tensor.proto, tensor_shape.proto.
 * The attribute types are those of the addon (tensorflow/c/tf_attrtype.h); it has lists of integers, floats and booleans only.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { NativeOpAttr } from "../native-binding.js";

const ATTR_STRING = 0;
const ATTR_INT = 1;
const ATTR_FLOAT = 2;
const ATTR_BOOL = 3;
const ATTR_TYPE = 4;
const ATTR_SHAPE = 5;
/** TF_STRING: its values are not raw bytes in a TensorProto. */
const TYPE_STRING = 7;
/** GraphDef version of the producer; TensorFlow 2.21 takes any from 0 on and then checks no op for being out of date. */
const PRODUCER = 2000;

/** A constant as `createTensor` was given it; `dtype` is TensorFlow's number. An int64 is a pair of int32. */
export interface ConstantTensor {
	dtype: number;
	shape: readonly number[];
	values: Float32Array | Int32Array | Uint8Array | readonly Uint8Array[];
}

/** One op of the graph. */
export interface GraphNode {
	name: string;
	op: string;
	/** `node:index` each; after them `^node` for a node to wait for. */
	inputs: readonly string[];
	attrs: readonly NativeOpAttr[];
	/** The attribute `value` of a Const. */
	value?: ConstantTensor;
}

/** An input of the graph. */
export function placeholderNode(name: string, dtype: number, shape: readonly number[]): GraphNode {
	const attrs = [typeAttr("dtype", dtype), shapeAttr("shape", shape)];
	return { name, op: "Placeholder", inputs: [], attrs };
}

/** A constant in the graph. */
export function constNode(name: string, value: ConstantTensor): GraphNode {
	return { name, op: "Const", inputs: [], attrs: [typeAttr("dtype", value.dtype)], value };
}

/** An attribute that is a type. */
export function typeAttr(name: string, dtype: number): NativeOpAttr {
	return { name, type: ATTR_TYPE, value: dtype };
}

/** An attribute that is an integer. */
export function intAttr(name: string, value: number): NativeOpAttr {
	return { name, type: ATTR_INT, value };
}

/** An attribute that is text. */
export function stringAttr(name: string, value: string): NativeOpAttr {
	return { name, type: ATTR_STRING, value };
}

/** An attribute that is a shape. */
export function shapeAttr(name: string, value: readonly number[]): NativeOpAttr {
	return { name, type: ATTR_SHAPE, value };
}

/** The graph as TensorFlow reads it. */
export function encodeGraphDef(nodes: readonly GraphNode[]): Uint8Array {
	const writer = new BinaryWriter();
	for (const node of nodes) nested(writer, 1, () => writeNode(writer, node));
	nested(writer, 4, () => writer.tag(1, WireType.Varint).int32(PRODUCER));
	return writer.finish();
}

function writeNode(writer: BinaryWriter, { name, op, inputs, attrs, value }: GraphNode): void {
	writer.tag(1, WireType.LengthDelimited).string(name).tag(2, WireType.LengthDelimited).string(op);
	for (const input of inputs) writer.tag(3, WireType.LengthDelimited).string(input);
	const attr = (key: string, write: () => void) =>
		nested(writer, 5, () => {
			writer.tag(1, WireType.LengthDelimited).string(key);
			nested(writer, 2, write);
		});
	for (const each of attrs) attr(each.name, () => writeAttr(writer, each));
	if (value) attr("value", () => nested(writer, 8, () => writeTensor(writer, value)));
}

function writeAttr(writer: BinaryWriter, { name, type, value }: NativeOpAttr): void {
	if (Array.isArray(value) && type !== ATTR_SHAPE) {
		nested(writer, 1, () => {
			for (const element of value) writeScalar(writer, name, type, element);
		});
	} else writeScalar(writer, name, type, value);
}

/** The field numbers of a value and of an element in a list are the same. */
function writeScalar(writer: BinaryWriter, name: string, type: number, value: unknown): void {
	switch (type) {
		case ATTR_STRING:
			writer.tag(2, WireType.LengthDelimited).string(value as string);
			break;
		case ATTR_INT:
			writer.tag(3, WireType.Varint).int64(value as number);
			break;
		case ATTR_FLOAT:
			writer.tag(4, WireType.Bit32).float(value as number);
			break;
		case ATTR_BOOL:
			writer.tag(5, WireType.Varint).bool(value as boolean);
			break;
		case ATTR_TYPE:
			writer.tag(6, WireType.Varint).int32(value as number);
			break;
		case ATTR_SHAPE:
			nested(writer, 7, () => writeShape(writer, value as readonly number[]));
			break;
		default:
			throw new Error(`graph-def: attribute "${name}" has the unknown type ${type}; expected one of the addon's TF_ATTR_*`);
	}
}

function writeTensor(writer: BinaryWriter, { dtype, shape, values }: ConstantTensor): void {
	writer.tag(1, WireType.Varint).int32(dtype);
	nested(writer, 2, () => writeShape(writer, shape));
	if (ArrayBuffer.isView(values)) {
		writer.tag(4, WireType.LengthDelimited).bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
	} else if (dtype === TYPE_STRING) {
		for (const text of values) writer.tag(8, WireType.LengthDelimited).bytes(text);
	} else throw new Error(`graph-def: a constant of type ${dtype} has no typed array`);
}

function writeShape(writer: BinaryWriter, shape: readonly number[]): void {
	for (const dim of shape) nested(writer, 2, () => writer.tag(1, WireType.Varint).int64(dim));
}

function nested(writer: BinaryWriter, field: number, write: () => void): void {
	writer.tag(field, WireType.LengthDelimited).fork();
	write();
	writer.join();
}
