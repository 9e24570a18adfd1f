import type { JsonObject } from './primitives.ts';

export type Schemas = Readonly<Record<string, JsonObject>>;

export const text: JsonObject = { type: 'string' };
export const flag: JsonObject = { type: 'boolean' };
export const count: JsonObject = { type: 'integer', minimum: 0 };
export const seconds: JsonObject = { type: 'integer', description: 'Seconds since 1970.' };

export function ref(name: string): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

export function constant(value: string | boolean): JsonObject {
  return { const: value };
}

export function oneOf(...values: readonly string[]): JsonObject {
  return { type: 'string', enum: values };
}

export function nullable(schema: JsonObject): JsonObject {
  return { anyOf: [schema, { type: 'null' }] };
}

export function listOf(items: JsonObject): JsonObject {
  return { type: 'array', items };
}

/** An object of an answer: all properties are there but those named in `absent`, which are left out rather than null. */
export function shape(properties: Schemas, absent: readonly string[] = [], description?: string): JsonObject {
  const required = Object.keys(properties).filter((name) => !absent.includes(name));
  return { type: 'object', ...(description === undefined ? {} : { description }), properties, required };
}

/** One of several objects, told apart by a property. */
export function variants(names: readonly string[], discriminator = 'type'): JsonObject {
  return { oneOf: names.map(ref), discriminator: { propertyName: discriminator } };
}
