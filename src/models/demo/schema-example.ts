import type { JsonObject } from '../../api/primitives.ts';
import { numberExample, stringExample } from './scalar-example.ts';
import { asSchema, isObject, listOf, maxMerges, merged, resolveRef, schemasOf, typesOf } from './schema-merge.ts';

/** Where values come from when there is something better than an invented one. */
export type Hints = {
  /** A string for the property `name` that `accepts` allows. */
  readonly string: (
    name: string,
    format: string | undefined,
    accepts: (value: string) => boolean,
  ) => string | undefined;
  readonly number: (name: string, accepts: (value: number) => boolean) => number | undefined;
  /** Strings for the array property `name`; empty when there is nothing to take. */
  readonly strings: (name: string) => readonly string[];
  /** Whether the value of an enum is spoken of. */
  readonly mentions: (value: string) => boolean;
};

export type ExampleOptions = {
  readonly hints?: Hints;
  /** Properties that are not required: `all`, or only those for which a hint had a value. */
  readonly optional: 'all' | 'hinted';
};

/** Schemas nested deeper than this are not completed: the value is then the nearest that is bounded. */
const maxDepth = 64;
/** Optional properties and first alternatives are taken down to here, below it only what must be. */
const generousDepth = 4;
const generousNodes = 500;
const maxNodes = 20_000;
/** Characters of all strings together; past it a `minLength` is not kept any more. */
const maxChars = 1_000_000;
const maxItems = 1_000;

type State = {
  readonly root: JsonObject;
  readonly options: ExampleOptions;
  readonly depths: Map<JsonObject, { fits: number; fails: number }>;
  nodes: number;
  chars: number;
  hinted: number;
};

/**
 * A value that satisfies a JSON Schema, the same every time: types, enum, const, required, nested objects, arrays,
 * local references (recursive ones too), allOf, anyOf and oneOf, bounds, formats; patterns best effort. `not`,
 * `if`, `patternProperties` and `contains` are not looked at. Depth, nodes and lengths are bounded.
 */
export function exampleOf(schema: JsonObject, options: ExampleOptions = { optional: 'all' }): unknown {
  const state: State = { root: schema, options, depths: new Map(), nodes: 0, chars: 0, hinted: 0 };
  return example(schema, '', 0, 0, state);
}

function example(given: JsonObject, name: string, level: number, variant: number, state: State): unknown {
  state.nodes += 1;
  if (state.nodes > maxNodes || level > maxDepth) return null;
  const schema = flattened(given, level, state);
  if (Object.hasOwn(schema, 'const')) return schema['const'];
  const values = listOf(schema['enum']);
  if (values.length > 0) return enumExample(values, schema, variant, state);
  const types = typesOf(schema['type']);
  const type = types.find((each) => each !== 'null') ?? types[0] ?? impliedType(schema);
  const before = state.hinted;
  const value = typedExample(type, schema, name, level, variant, state);
  const optional = state.options.optional === 'hinted' && types.includes('null') && state.hinted === before;
  return optional ? null : value;
}

function typedExample(
  type: string,
  schema: JsonObject,
  name: string,
  level: number,
  variant: number,
  state: State,
): unknown {
  switch (type) {
    case 'object':
      return objectExample(schema, level, variant, state);
    case 'array':
      return arrayExample(schema, name, level, state);
    case 'number':
    case 'integer':
      return numberExample(schema, type === 'integer', variant, (accepts) =>
        hinted(state, (hints) => hints.number(name, accepts)),
      );
    case 'boolean':
      return variant % 2 === 0;
    case 'null':
      return null;
    default:
      return textExample(schema, name, variant, state);
  }
}

function textExample(schema: JsonObject, name: string, variant: number, state: State): string {
  if (state.chars > maxChars) return '';
  const text = stringExample(schema, variant, (format, accepts) =>
    hinted(state, (hints) => hints.string(name, format, accepts)),
  );
  state.chars += text.length;
  return text;
}

function hinted<T>(state: State, take: (hints: Hints) => T | undefined): T | undefined {
  const value = state.options.hints === undefined ? undefined : take(state.options.hints);
  if (value !== undefined) state.hinted += 1;
  return value;
}

function impliedType(schema: JsonObject): string {
  if ('properties' in schema || 'required' in schema || 'additionalProperties' in schema) return 'object';
  if ('items' in schema || 'prefixItems' in schema || 'minItems' in schema) return 'array';
  if ('minimum' in schema || 'maximum' in schema || 'multipleOf' in schema) return 'number';
  return 'string';
}

function enumExample(values: readonly unknown[], schema: JsonObject, variant: number, state: State): unknown {
  const types = typesOf(schema['type']);
  const allowed = types.length === 0 ? values : values.filter((each) => types.some((type) => isOfType(each, type)));
  const spoken = hinted(state, (hints) => allowed.find((each) => typeof each === 'string' && hints.mentions(each)));
  if (spoken !== undefined) return spoken;
  if (state.options.optional === 'hinted' && allowed.includes(null)) return null;
  return allowed[variant % Math.max(allowed.length, 1)] ?? values[0];
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isObject(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

function objectExample(schema: JsonObject, level: number, variant: number, state: State): JsonObject {
  const properties = asSchema(schema['properties']);
  const required = new Set(listOf(schema['required']).filter((each) => typeof each === 'string'));
  const entries: [string, unknown][] = [];
  for (const [key, property] of Object.entries(properties)) {
    const wanted = required.has(key);
    if (property === false || (!wanted && !worthIt(asSchema(property), level, state))) continue;
    const before = state.hinted;
    const value = example(asSchema(property), key, level + 1, variant, state);
    if (!wanted && state.options.optional === 'hinted' && state.hinted === before) continue;
    entries.push([key, value]);
  }
  const has = new Set(entries.map(([key]) => key));
  const rest = asSchema(schema['additionalProperties']);
  const add = (key: string) => {
    entries.push([key, example(rest, key, level + 1, variant, state)]);
    has.add(key);
  };
  for (const key of required) if (!has.has(key) && !Object.hasOwn(properties, key)) add(key);
  const least = Math.min(Number(schema['minProperties'] ?? 0), maxItems);
  if (schema['additionalProperties'] === false) return Object.fromEntries(entries);
  for (let extra = 1; has.size < least && extra <= maxItems * 2; extra += 1) {
    if (!Object.hasOwn(properties, `extra${extra}`) && !has.has(`extra${extra}`)) add(`extra${extra}`);
  }
  return Object.fromEntries(entries);
}

/** Whether an optional part is given: above the depth where it would only repeat itself, and where it can end. */
function worthIt(schema: JsonObject, level: number, state: State): boolean {
  return level < generousDepth && state.nodes < generousNodes && fits(schema, maxDepth - level - 1, state);
}

function arrayExample(schema: JsonObject, name: string, level: number, state: State): unknown[] {
  const most = Math.min(Number(schema['maxItems'] ?? maxItems), maxItems);
  const least = Math.min(Number(schema['minItems'] ?? 0), most);
  const prefix = schemasOf(schema['prefixItems']);
  const items = asSchema(schema['items']);
  const result: unknown[] = prefix.slice(0, most).map((each) => example(each, name, level + 1, 0, state));
  if (schema['items'] === false) return result;
  const taken = hintedItems(items, name, Math.max(least, most), state);
  if (result.length === 0 && taken !== undefined && taken.length >= least) return taken;
  const generous = prefix.length === 0 && state.options.optional === 'all' && worthIt(items, level, state);
  const count = Math.max(least, generous ? Math.min(1, most) : 0);
  while (result.length < count && state.nodes <= maxNodes) {
    result.push(example(items, name, level + 1, result.length, state));
  }
  return result;
}

/** Plain strings that the hints know, for an array of plain strings. */
function hintedItems(items: JsonObject, name: string, most: number, state: State): string[] | undefined {
  const plain =
    items['type'] === 'string' &&
    !['enum', 'const', 'pattern', 'format', 'minLength', 'maxLength'].some((key) => key in items);
  if (!plain) return undefined;
  const values = hinted(state, (hints) => {
    const found = hints.strings(name);
    return found.length > 0 ? found : undefined;
  });
  return values === undefined ? undefined : [...new Set(values)].slice(0, most);
}

/** The schema with its references, its allOf and one alternative of anyOf and oneOf taken into it. */
function flattened(given: JsonObject, level: number, state: State): JsonObject {
  let schema = given;
  for (let merges = 0; merges < maxMerges; merges += 1) {
    const { $ref, allOf, anyOf, oneOf, ...own } = schema;
    if ($ref !== undefined) {
      const rest = without(schema, '$ref');
      schema = merged(resolveRef(state.root, $ref) ?? {}, rest);
    } else if (allOf !== undefined) {
      schema = schemasOf(allOf).slice(0, maxMerges).reduce(merged, without(schema, 'allOf'));
    } else if (anyOf !== undefined) {
      schema = merged(without(schema, 'anyOf'), chosen(schemasOf(anyOf), level, state));
    } else if (oneOf !== undefined) {
      schema = merged(without(schema, 'oneOf'), chosen(schemasOf(oneOf), level, state));
    } else {
      return own;
    }
  }
  return {};
}

function without(schema: JsonObject, key: string): JsonObject {
  const { [key]: _left, ...rest } = schema;
  return rest;
}

/** The first alternative that can end and is not just null; deep down, the one that ends soonest. */
function chosen(branches: readonly JsonObject[], level: number, state: State): JsonObject {
  const left = maxDepth - level;
  const ending = branches.filter((each) => fits(each, left, state));
  const first = ending[0] ?? branches[0] ?? {};
  if (level < generousDepth && state.nodes < generousNodes) {
    return ending.find((each) => each['type'] !== 'null') ?? first;
  }
  let best = first;
  for (let depth = 0; depth < left; depth += 1) {
    const soonest = ending.find((each) => fits(each, depth, state));
    if (soonest !== undefined) {
      best = soonest;
      break;
    }
  }
  return best;
}

/** Whether some value of at most this depth satisfies the schema. Remembered, as recursive schemas ask again and again. */
function fits(schema: JsonObject, depth: number, state: State): boolean {
  if (depth < 0) return false;
  const known = state.depths.get(schema) ?? { fits: Number.POSITIVE_INFINITY, fails: -1 };
  if (depth >= known.fits) return true;
  if (depth <= known.fails) return false;
  const result = computeFits(schema, depth, state);
  const updated = state.depths.get(schema) ?? known;
  state.depths.set(schema, result ? { ...updated, fits: depth } : { ...updated, fails: depth });
  return result;
}

function computeFits(schema: JsonObject, depth: number, state: State): boolean {
  if ('const' in schema || 'enum' in schema) return true;
  const target = resolveRef(state.root, schema['$ref']);
  if (target !== undefined && !fits(target, depth - 1, state)) return false;
  for (const part of schemasOf(schema['allOf'])) if (!fits(part, depth - 1, state)) return false;
  for (const key of ['anyOf', 'oneOf']) {
    const branches = schemasOf(schema[key]);
    if (branches.length > 0 && !branches.some((each) => fits(each, depth - 1, state))) return false;
  }
  const properties = asSchema(schema['properties']);
  for (const key of listOf(schema['required'])) {
    const property = typeof key === 'string' && Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (property !== undefined && !fits(asSchema(property), depth - 1, state)) return false;
  }
  if (Number(schema['minItems'] ?? 0) > 0 && !fits(asSchema(schema['items']), depth - 1, state)) return false;
  return schemasOf(schema['prefixItems']).every((each) => fits(each, depth - 1, state));
}
