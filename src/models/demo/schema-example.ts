import type { JsonObject } from '../../api/primitives.ts';
import { Budget } from './budget.ts';
import { numberExample, stringExample } from './scalar-example.ts';
import { Depths } from './schema-depth.ts';
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
/** Values of one enum that are looked for in the words. */
const maxCompared = 10_000;

/** The values that have one of the types, the first that is spoken of, and whether there is null. */
type EnumReading = {
  readonly types: string;
  readonly values: readonly unknown[];
  readonly spoken: unknown;
  readonly hasNull: boolean;
};

type State = {
  readonly root: JsonObject;
  readonly options: ExampleOptions;
  readonly budget: Budget;
  readonly depths: Depths;
  readonly enums: Map<readonly unknown[], EnumReading>;
  nodes: number;
  hinted: number;
};

/**
 * A value that satisfies a JSON Schema, the same every time: types, enum, const, required, nested objects, arrays,
 * local references (recursive ones too), allOf, anyOf and oneOf, bounds, formats; patterns best effort. `not`,
 * `if`, `patternProperties` and `contains` are not looked at. Depth is bounded; a schema that asks for more work than
 * the budget has throws `invalid_request`.
 */
export function exampleOf(
  schema: JsonObject,
  options: ExampleOptions = { optional: 'all' },
  budget: Budget = new Budget(),
): unknown {
  const depths = new Depths(schema, budget);
  const state: State = { root: schema, options, budget, depths, enums: new Map(), nodes: 0, hinted: 0 };
  return example(schema, '', 0, 0, state);
}

function example(given: JsonObject, name: string, level: number, variant: number, state: State): unknown {
  state.nodes += 1;
  state.budget.takeNodes(1);
  if (level > maxDepth) return null;
  const schema = flattened(given, level, state);
  if (Object.hasOwn(schema, 'const')) return givenValue(schema['const'], state);
  const values = listOf(schema['enum']);
  if (values.length > 0) return givenValue(enumExample(values, schema, variant, state), state);
  const types = typesOf(schema['type']);
  const type = types.find((each) => each !== 'null') ?? types[0] ?? impliedType(schema);
  const before = state.hinted;
  const value = typedExample(type, schema, name, level, variant, state);
  const optional = state.options.optional === 'hinted' && types.includes('null') && state.hinted === before;
  return optional ? null : value;
}

/** A value that stands in the schema itself. */
function givenValue(value: unknown, state: State): unknown {
  state.budget.takeValue(value);
  return value;
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
      return numberExample(schema, type === 'integer', variant, state.budget, (accepts) =>
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
  const text = stringExample(schema, variant, state.budget, (format, accepts) =>
    hinted(state, (hints) => hints.string(name, format, accepts)),
  );
  state.budget.takeChars(text.length);
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

function enumExample(given: readonly unknown[], schema: JsonObject, variant: number, state: State): unknown {
  const { values, spoken, hasNull } = readEnum(given, typesOf(schema['type']), state);
  if (spoken !== undefined) {
    state.hinted += 1;
    return spoken;
  }
  if (state.options.optional === 'hinted' && hasNull) return null;
  return values[variant % Math.max(values.length, 1)] ?? given[0];
}

/** What an enum comes to. Each is read once, as an array of enums asks again and again. */
function readEnum(given: readonly unknown[], types: readonly string[], state: State): EnumReading {
  const key = types.join();
  const known = state.enums.get(given);
  if (known?.types === key) return known;
  state.budget.takeSteps(Math.ceil(given.length / 8));
  const values = types.length === 0 ? given : given.filter((each) => types.some((type) => isOfType(each, type)));
  const compared = values.slice(0, maxCompared);
  const { hints } = state.options;
  const spoken = hints && compared.find((each) => typeof each === 'string' && hints.mentions(each));
  const reading = { types: key, values, spoken, hasNull: values.includes(null) };
  state.enums.set(given, reading);
  return reading;
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isObject(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

function objectExample(schema: JsonObject, level: number, variant: number, state: State): JsonObject {
  const { budget } = state;
  const properties = asSchema(schema['properties']);
  const names = listOf(schema['required']);
  budget.needNodes(names.length);
  const required = new Set(names.filter((each) => typeof each === 'string'));
  const values = new Map<string, unknown>();
  const add = (key: string, property: JsonObject) => {
    const before = state.hinted;
    const value = example(property, key, level + 1, variant, state);
    if (!required.has(key) && state.options.optional === 'hinted' && state.hinted === before) return;
    budget.takeChars(key.length);
    values.set(key, value);
  };
  let missing = required.size;
  for (const key of budget.keysOf(properties)) {
    if (required.has(key)) missing -= 1;
    else if (!isGenerous(level, state)) {
      if (missing === 0) break;
      continue;
    }
    const property = properties[key];
    if (property === false || !(required.has(key) || worthIt(asSchema(property), level, state))) continue;
    add(key, asSchema(property));
  }
  const rest = asSchema(schema['additionalProperties']);
  for (const key of required) if (!values.has(key) && !Object.hasOwn(properties, key)) add(key, rest);
  if (schema['additionalProperties'] !== false) {
    const least = Number(schema['minProperties'] ?? 0);
    budget.needNodes(least - values.size);
    for (let extra = 1; values.size < least; extra += 1) {
      const key = `extra${extra}`;
      if (Object.hasOwn(properties, key) || values.has(key)) continue;
      required.add(key);
      add(key, rest);
    }
  }
  return Object.fromEntries(values);
}

function isGenerous(level: number, state: State): boolean {
  return level < generousDepth && state.nodes < generousNodes;
}

/** Whether an optional part is given: above the depth where it would only repeat itself, and where it can end. */
function worthIt(schema: JsonObject, level: number, state: State): boolean {
  return isGenerous(level, state) && state.depths.fits(schema, maxDepth - level - 1);
}

function arrayExample(schema: JsonObject, name: string, level: number, state: State): unknown[] {
  const most = Number(schema['maxItems'] ?? Number.POSITIVE_INFINITY);
  const least = Math.min(Number(schema['minItems'] ?? 0), most);
  const prefix = listOf(schema['prefixItems']).slice(0, Number.isFinite(most) ? most : undefined);
  state.budget.needNodes(prefix.length);
  const items = asSchema(schema['items']);
  const result: unknown[] = prefix.map((each) => example(asSchema(each), name, level + 1, 0, state));
  if (schema['items'] === false) return result;
  const taken = hintedItems(items, name, Math.max(least, most), state);
  if (result.length === 0 && taken !== undefined && taken.length >= least) return taken;
  const generous = prefix.length === 0 && state.options.optional === 'all' && worthIt(items, level, state);
  const count = Math.max(least, generous ? Math.min(1, most) : 0);
  state.budget.needNodes(count - result.length);
  while (result.length < count) result.push(example(items, name, level + 1, result.length, state));
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
  const { budget } = state;
  let schema = given;
  for (let merges = 0; merges < maxMerges; merges += 1) {
    const key = combining.find((each) => schema[each] !== undefined);
    if (key === undefined) return schema;
    const rest = without(schema, key, budget);
    const parts = schema[key];
    if (key === '$ref') {
      schema = merged(resolveRef(state.root, parts) ?? {}, rest, budget);
    } else if (key === 'allOf') {
      const all = listOf(parts).slice(0, maxMerges).map(asSchema);
      schema = all.reduce((one, other) => merged(one, other, budget), rest);
    } else {
      schema = merged(rest, chosen(schemasOf(parts), level, state), budget);
    }
  }
  return {};
}

const combining = ['$ref', 'allOf', 'anyOf', 'oneOf'] as const;

function without(schema: JsonObject, key: string, budget: Budget): JsonObject {
  budget.takeSteps(budget.keysOf(schema).length);
  const { [key]: _left, ...rest } = schema;
  return rest;
}

/** The first alternative that can end and is not just null; deep down, the one that ends soonest. */
function chosen(branches: readonly JsonObject[], level: number, state: State): JsonObject {
  state.budget.takeSteps(branches.length);
  const limit = maxDepth - level;
  let best: JsonObject | undefined;
  let bestDepth = Number.POSITIVE_INFINITY;
  const generous = isGenerous(level, state);
  for (const each of branches) {
    const depth = state.depths.least(each, limit);
    if (depth > limit) continue;
    if (generous && each['type'] !== 'null') return each;
    if (best === undefined || (!generous && depth < bestDepth)) {
      best = each;
      bestDepth = depth;
    }
  }
  return best ?? branches[0] ?? {};
}
