/**
 * A Parquet schema from a zod schema, so that a row's form is written down once. What rows are made of: objects, arrays, text, whole
 * numbers and numbers; fields may be optional. Lists have the three levels that Arrow writes: https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists
 */
import type { ParquetWriter } from "hyparquet-writer";
import { z } from "zod";

export type SchemaElement = ParquetWriter["schema"][number];

/** What of a JSON schema is read. */
interface Shape {
	type?: string;
	properties?: Record<string, Shape>;
	required?: string[];
	items?: Shape;
}

/** The elements of a row, depth first, as Parquet has them. @throws TypeError for a schema with another type. */
export function parquetSchema(row: z.ZodObject): SchemaElement[] {
	const { properties = {}, required = [] } = z.toJSONSchema(row) as Shape;
	const fields = Object.entries(properties);
	return [
		{ name: "root", num_children: fields.length },
		...fields.flatMap(([name, shape]) => elements(name, shape, required.includes(name))),
	];
}

function elements(name: string, shape: Shape, required: boolean): SchemaElement[] {
	const repetition_type = required ? "REQUIRED" : "OPTIONAL";
	if (shape.type === "string") return [{ name, repetition_type, type: "BYTE_ARRAY", converted_type: "UTF8" }];
	if (shape.type === "integer") return [{ name, repetition_type, type: "INT64" }];
	if (shape.type === "number") return [{ name, repetition_type, type: "DOUBLE" }];
	if (shape.type === "object" && shape.properties) {
		const { properties, required: needed = [] } = shape;
		const fields = Object.entries(properties).flatMap(([field, inner]) => elements(field, inner, needed.includes(field)));
		return [{ name, repetition_type, num_children: Object.keys(properties).length }, ...fields];
	}
	if (shape.type === "array" && shape.items) {
		const list: SchemaElement = { name, repetition_type, converted_type: "LIST", num_children: 1 };
		return [list, { name: "list", repetition_type: "REPEATED", num_children: 1 }, ...elements("element", shape.items, true)];
	}
	throw new TypeError(`parquet field ${name}: expected text, a number, an object or an array, got ${JSON.stringify(shape)}`);
}

/** Makes rows what the writer wants: whole numbers of 64 bits as bigint. */
export function parquetRows(schema: z.ZodObject): (row: unknown) => Record<string, unknown> {
	const shape = z.toJSONSchema(schema) as Shape;
	return (row) => convert(row, shape) as Record<string, unknown>;
}

function convert(value: unknown, shape: Shape): unknown {
	if (value === undefined || value === null) return null;
	if (shape.type === "integer") return BigInt(value as number);
	if (shape.items) return (value as unknown[]).map((item) => convert(item, shape.items as Shape));
	if (!shape.properties) return value;
	const fields = Object.entries(shape.properties);
	return Object.fromEntries(fields.map(([name, inner]) => [name, convert((value as Record<string, unknown>)[name], inner)]));
}
