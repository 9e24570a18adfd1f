import type { JsonObject } from '../../api/primitives.ts';
import type { Budget } from './budget.ts';

export const maxMerges = 64;
/** What a merge costs besides its parts. */
const stepsPerMerge = 4;
/** A longer reference names nothing. */
const maxRefChars = 2_000;

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
  if (!ref.startsWith('#/') || ref.length > maxRefChars) return undefined;
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

/**
 * A schema that asks for what both ask for, as far as one object can say it. Costs a step for each part that is
 * copied.
 */
export function merged(one: JsonObject, other: JsonObject, budget: Budget): JsonObject {
  budget.takeSteps(stepsPerMerge + budget.keysOf(one).length + budget.keysOf(other).length);
  const result: Record<string, unknown> = { ...one };
  for (const key of budget.keysOf(other)) {
    const value = other[key];
    result[key] = Object.hasOwn(one, key) ? both(key, one[key], value, budget) : value;
  }
  return result;
}

function both(key: string, one: unknown, other: unknown, budget: Budget): unknown {
  switch (key) {
    case 'type':
      return commonTypes(typesOf(one), typesOf(other));
    case 'enum':
      return common(listOf(one), listOf(other), budget);
    case 'required':
      budget.takeSteps(listOf(one).length + listOf(other).length);
      return [...new Set([...listOf(one), ...listOf(other)])];
    case 'properties':
    case '$defs':
    case 'definitions':
      return mergedMaps(asSchema(one), asSchema(other), budget);
    case 'items':
      return isObject(one) && isObject(other) ? merged(one, other, budget) : isObject(one) ? one : other;
    case 'additionalProperties':
      if (one === false || other === false) return false;
      return isObject(one) && isObject(other) ? merged(one, other, budget) : other;
    case 'allOf':
      budget.takeSteps(listOf(one).length + listOf(other).length);
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

function mergedMaps(one: JsonObject, other: JsonObject, budget: Budget): JsonObject {
  budget.takeSteps(budget.keysOf(one).length + budget.keysOf(other).length);
  const result: Record<string, unknown> = { ...one };
  for (const key of budget.keysOf(other)) {
    const schema = other[key];
    result[key] = Object.hasOwn(one, key) ? merged(asSchema(one[key]), asSchema(schema), budget) : schema;
  }
  return result;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The types that a schema names; there are only seven. */
export function typesOf(type: unknown): string[] {
  if (typeof type === 'string') return [type];
  return listOf(type)
    .slice(0, maxMerges)
    .filter((each): each is string => typeof each === 'string');
}

function commonTypes(one: readonly string[], other: readonly string[]): string[] {
  const shared = one.filter((each) => other.includes(each));
  const whole = (has: readonly string[], otherHas: readonly string[]) =>
    has.includes('integer') && otherHas.includes('number');
  if (!shared.includes('integer') && (whole(one, other) || whole(other, one))) shared.push('integer');
  return shared;
}

function common(one: readonly unknown[], other: readonly unknown[], budget: Budget): unknown[] {
  budget.takeSteps(8 * (one.length + other.length));
  const keyOf = (value: unknown) => {
    const key = typeof value === 'string' ? `"${value}` : JSON.stringify(value);
    budget.takeSteps(Math.floor(key.length / 16));
    return key;
  };
  const texts = new Set(other.map(keyOf));
  return one.filter((each) => texts.has(keyOf(each)));
}
