import type { JsonObject } from '../../api/primitives.ts';

export const maxMerges = 64;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A schema as an object: `true` allows everything, and what is no schema is taken for `true`. */
export function asSchema(value: unknown): JsonObject {
  return isObject(value) ? value : anything;
}

const anything: JsonObject = {};

export function schemasOf(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.map(asSchema) : [];
}

/** The part of the document that a local `$ref` names (`#`, `#/$defs/x`), or undefined. */
export function resolveRef(root: JsonObject, ref: unknown): JsonObject | undefined {
  if (typeof ref !== 'string') return undefined;
  if (ref === '#') return root;
  if (!ref.startsWith('#/')) return undefined;
  let at: unknown = root;
  for (const step of ref.slice(2).split('/').slice(0, maxMerges)) {
    const key = decoded(step).replaceAll('~1', '/').replaceAll('~0', '~');
    if (Array.isArray(at)) at = at[Number(key)];
    else if (isObject(at) && Object.hasOwn(at, key)) at = at[key];
    else return undefined;
  }
  return isObject(at) ? at : undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A schema that asks for what both ask for, as far as one object can say it. */
export function merged(one: JsonObject, other: JsonObject): JsonObject {
  const result: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other)) {
    result[key] = Object.hasOwn(one, key) ? both(key, one[key], value) : value;
  }
  return result;
}

function both(key: string, one: unknown, other: unknown): unknown {
  switch (key) {
    case 'type':
      return commonTypes(typesOf(one), typesOf(other));
    case 'enum':
      return common(one, other);
    case 'required':
      return [...new Set([...listOf(one), ...listOf(other)])];
    case 'properties':
    case '$defs':
    case 'definitions':
      return mergedMaps(asSchema(one), asSchema(other));
    case 'items':
      return isObject(one) && isObject(other) ? merged(one, other) : isObject(one) ? one : other;
    case 'additionalProperties':
      return one === false || other === false ? false : isObject(one) && isObject(other) ? merged(one, other) : other;
    case 'allOf':
      return [...listOf(one), ...listOf(other)];
    case 'minimum':
    case 'exclusiveMinimum':
    case 'minLength':
    case 'minItems':
    case 'minProperties':
      return Math.max(Number(one), Number(other));
    case 'maximum':
    case 'exclusiveMaximum':
    case 'maxLength':
    case 'maxItems':
    case 'maxProperties':
      return Math.min(Number(one), Number(other));
    case 'uniqueItems':
      return one === true || other === true;
    default:
      return one;
  }
}

function mergedMaps(one: JsonObject, other: JsonObject): JsonObject {
  const result: Record<string, unknown> = { ...one };
  for (const [key, schema] of Object.entries(other)) {
    result[key] = Object.hasOwn(one, key) ? merged(asSchema(one[key]), asSchema(schema)) : schema;
  }
  return result;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function typesOf(type: unknown): string[] {
  if (typeof type === 'string') return [type];
  return listOf(type).filter((each): each is string => typeof each === 'string');
}

function commonTypes(one: readonly string[], other: readonly string[]): string[] {
  const shared = one.filter((each) => other.includes(each));
  const whole = (has: readonly string[], otherHas: readonly string[]) =>
    has.includes('integer') && otherHas.includes('number');
  if (!shared.includes('integer') && (whole(one, other) || whole(other, one))) shared.push('integer');
  return shared;
}

function common(one: unknown, other: unknown): unknown[] {
  const texts = new Set(listOf(other).map((each) => JSON.stringify(each)));
  return listOf(one).filter((each) => texts.has(JSON.stringify(each)));
}
