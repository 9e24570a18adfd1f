import { isDeepStrictEqual } from 'node:util';

type Node = { readonly [key: string]: unknown };

/** Keywords that are checked, and those that say nothing about values. Any other is an error: it would be ignored. */
const known = new Set([
  ...['$ref', 'type', 'const', 'enum', 'anyOf', 'oneOf', 'properties', 'required', 'additionalProperties'],
  ...['propertyNames', 'maxProperties', 'items', 'minItems', 'maxItems', 'minLength', 'maxLength', 'pattern'],
  ...['minimum', 'maximum', 'description', 'default', 'discriminator'],
]);

/**
 * What is wrong with a value by a JSON Schema of `document`; just the part of JSON Schema that the OpenAPI document
 * uses. Stricter in one point: a property that an object's schema does not name is a problem, unless it says otherwise.
 */
export function schemaProblems(document: object, schema: unknown, value: unknown, path = '$'): string[] {
  if (!isNode(schema)) return [`${path}: no schema`];
  const strange = Object.keys(schema).filter((key) => !known.has(key));
  if (strange.length > 0) return [`${path}: unknown keywords ${strange.join(', ')}`];
  if (typeof schema['$ref'] === 'string') {
    return schemaProblems(document, resolveRef(document, schema['$ref']), value, path);
  }
  const problems: string[] = [];
  const fail = (what: string) => problems.push(`${path}: ${what}, got ${JSON.stringify(value)?.slice(0, 80)}`);
  const { type } = schema;
  if (type !== undefined && ![type].flat().some((each) => hasType(value, each))) fail(`expected ${[type].flat()}`);
  if ('const' in schema && !isDeepStrictEqual(value, schema['const'])) fail(`expected ${schema['const']}`);
  if (Array.isArray(schema['enum']) && !schema['enum'].some((each) => isDeepStrictEqual(each, value))) {
    fail(`expected one of ${schema['enum']}`);
  }
  for (const [union, isRight] of [
    ['anyOf', (matches: number) => matches > 0],
    ['oneOf', (matches: number) => matches === 1],
  ] as const) {
    const branches = schema[union];
    if (!Array.isArray(branches)) continue;
    const tried = branches.map((branch) => schemaProblems(document, branch, value, path));
    const matches = tried.filter((each) => each.length === 0).length;
    if (isRight(matches)) continue;
    const closest = tried.toSorted((a, b) => depthOf(b) - depthOf(a))[0] ?? [];
    fail(`${matches} branches of ${union} match (${closest.join('; ').slice(0, 300)})`);
  }
  if (typeof value === 'string') checkString(schema, value, fail);
  if (typeof value === 'number') {
    if (value < Number(schema['minimum'] ?? -Infinity)) fail('too small');
    if (value > Number(schema['maximum'] ?? Infinity)) fail('too big');
  }
  if (Array.isArray(value)) {
    if (value.length < Number(schema['minItems'] ?? 0)) fail('too few entries');
    if (value.length > Number(schema['maxItems'] ?? Infinity)) fail('too many entries');
    if ('items' in schema) {
      for (const [index, each] of value.entries()) {
        problems.push(...schemaProblems(document, schema['items'], each, `${path}[${index}]`));
      }
    }
  } else if (isNode(value)) {
    problems.push(...objectProblems(document, schema, value, path));
  }
  return problems;
}

export function resolveRef(document: object, ref: string): unknown {
  let at: unknown = document;
  for (const key of ref.replace(/^#\//, '').split('/')) at = isNode(at) ? at[key] : undefined;
  return at;
}

function objectProblems(document: object, schema: Node, value: Node, path: string): string[] {
  const problems: string[] = [];
  const properties = isNode(schema['properties']) ? schema['properties'] : undefined;
  const additional = schema['additionalProperties'] ?? properties === undefined;
  for (const name of Array.isArray(schema['required']) ? schema['required'] : []) {
    if (!Object.hasOwn(value, String(name))) problems.push(`${path}.${name}: missing`);
  }
  const { maxProperties, propertyNames } = schema;
  if (Object.keys(value).length > Number(maxProperties ?? Infinity)) problems.push(`${path}: too many properties`);
  for (const [name, inner] of Object.entries(value)) {
    const own = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (propertyNames !== undefined) problems.push(...schemaProblems(document, propertyNames, name, `${path}.${name}`));
    if (own !== undefined) problems.push(...schemaProblems(document, own, inner, `${path}.${name}`));
    else if (additional === false) problems.push(`${path}.${name}: not in the schema`);
    else if (isNode(additional)) problems.push(...schemaProblems(document, additional, inner, `${path}.${name}`));
  }
  return problems;
}

function checkString(schema: Node, value: string, fail: (what: string) => void): void {
  if (value.length < Number(schema['minLength'] ?? 0)) fail('too short');
  if (value.length > Number(schema['maxLength'] ?? Infinity)) fail('too long');
  if (typeof schema['pattern'] === 'string' && !new RegExp(schema['pattern']).test(value)) fail('wrong pattern');
}

function hasType(value: unknown, type: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isNode(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function depthOf(problems: readonly string[]): number {
  return Math.max(...problems.map((each) => each.split(':')[0]?.length ?? 0));
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
