// biome-ignore-all lint/suspicious/noExplicitAny: the validator reads schemas and values of any form
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/api/primitives.ts';
import { createDemoModel } from '../../src/models/demo/demo.ts';
import { exampleOf } from '../../src/models/demo/schema-example.ts';
import { modelCall, run, textOf, userSays } from '../contracts/model.ts';

const formats: Record<string, RegExp> = {
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d:\d\dZ$/,
  duration: /^P\d+D$/,
  email: /^[^@\s]+@[^@\s]+\.\w+$/,
  hostname: /^[a-z0-9-]+(\.[a-z0-9-]+)+$/,
  ipv4: /^(\d{1,3}\.){3}\d{1,3}$/,
  ipv6: /^[0-9a-f:]+$/,
  uri: /^https:\/\/\S+$/,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
};

type Schema = Record<string, any>;

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value;
}

/** What is wrong with a value, by the part of JSON Schema that the examples promise to know. */
function problems(schema: Schema | boolean, value: any, root: Schema, path = '$'): string[] {
  if (schema === true) return [];
  if (schema === false) return [`${path}: nothing is allowed`];
  const found: string[] = [];
  const must = (holds: boolean, what: string) => {
    if (!holds) found.push(`${path}: ${what}`);
  };
  const sub = (each: Schema | boolean, at = value, name = '') => problems(each, at, root, `${path}${name}`);
  if (schema.$ref !== undefined) {
    const target =
      schema.$ref === '#'
        ? root
        : schema.$ref
            .slice(2)
            .split('/')
            .reduce((at: any, key: string) => at[key], root);
    found.push(...sub(target));
  }
  for (const each of schema.allOf ?? []) found.push(...sub(each));
  const fitting = (list: Schema[]) => list.filter((each) => sub(each).length === 0).length;
  if (schema.anyOf !== undefined) must(fitting(schema.anyOf) > 0, 'anyOf');
  if (schema.oneOf !== undefined) must(fitting(schema.oneOf) === 1, 'oneOf');
  if ('const' in schema) must(JSON.stringify(schema.const) === JSON.stringify(value), 'const');
  if (schema.enum !== undefined)
    must(
      schema.enum.some((each: unknown) => JSON.stringify(each) === JSON.stringify(value)),
      'enum',
    );
  const type = typeOf(value);
  if (schema.type !== undefined) {
    const types = [schema.type].flat();
    must(
      types.includes(type) || (types.includes('integer') && Number.isInteger(value)),
      `type ${schema.type}, not ${type}`,
    );
  }
  if (type === 'number') {
    must(value >= (schema.minimum ?? -Infinity) && value <= (schema.maximum ?? Infinity), 'bounds');
    must(
      value > (schema.exclusiveMinimum ?? -Infinity) && value < (schema.exclusiveMaximum ?? Infinity),
      'exclusive bounds',
    );
    const times = value / (schema.multipleOf ?? 1e-9);
    if (schema.multipleOf !== undefined) must(Math.abs(times - Math.round(times)) < 1e-9, 'multipleOf');
  }
  if (type === 'string') {
    must(value.length >= (schema.minLength ?? 0) && value.length <= (schema.maxLength ?? Infinity), 'length');
    if (schema.pattern !== undefined)
      must(new RegExp(schema.pattern, 'u').test(value), `pattern ${schema.pattern}: ${value}`);
    if (schema.format !== undefined) must(formats[schema.format]!.test(value), `format ${schema.format}: ${value}`);
  }
  if (type === 'array') {
    must(value.length >= (schema.minItems ?? 0) && value.length <= (schema.maxItems ?? Infinity), 'items');
    if (schema.uniqueItems)
      must(new Set(value.map((each: unknown) => JSON.stringify(each))).size === value.length, 'unique');
    const prefix: Schema[] = schema.prefixItems ?? [];
    for (const [index, each] of value.entries())
      found.push(...sub(prefix[index] ?? schema.items ?? true, each, `[${index}]`));
  }
  if (type === 'object') {
    for (const key of schema.required ?? []) must(Object.hasOwn(value, key), `required ${key}`);
    must(Object.keys(value).length >= (schema.minProperties ?? 0), 'minProperties');
    for (const [key, each] of Object.entries(value)) {
      const known = Object.hasOwn(schema.properties ?? {}, key);
      found.push(...sub(known ? schema.properties[key] : (schema.additionalProperties ?? true), each, `.${key}`));
    }
  }
  return found;
}

const node = {
  type: 'object',
  properties: { value: { type: 'number' }, next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
  required: ['value', 'next'],
  additionalProperties: false,
};
const tagged = (kind: string) => ({
  type: 'object',
  properties: { kind: { const: kind }, [kind]: { type: 'string' } },
  required: ['kind', kind],
  additionalProperties: false,
});

const schemas: [string, Schema][] = [
  ['a long string', { type: 'string', minLength: 40 }],
  ['a short string', { type: 'string', maxLength: 3 }],
  ['an empty string', { type: 'string', maxLength: 0 }],
  ['a pattern', { type: 'string', pattern: '^[A-Z]{2}-\\d{4}$' }],
  ['a pattern with groups', { type: 'string', pattern: '^(foo|bar)+[^a1]x?$', minLength: 6 }],
  ['a pattern with escapes', { type: 'string', pattern: '^\\w+@\\w+\\.com$' }],
  ['a pattern with a class of hex', { type: 'string', pattern: '^#[0-9a-fA-F]{6}$' }],
  ['a pattern of properties', { type: 'string', pattern: '^\\p{Lu}\\p{L}*$' }],
  ...Object.keys(formats).map((format): [string, Schema] => [`format ${format}`, { type: 'string', format }]),
  ['integers', { type: 'integer', minimum: 5, maximum: 6 }],
  ['negative integers', { type: 'integer', maximum: -4 }],
  ['exclusive bounds', { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 }],
  ['multiples', { type: 'number', multipleOf: 0.25, minimum: 1.3 }],
  ['whole multiples', { type: 'integer', multipleOf: 7, minimum: 10 }],
  ['enum', { enum: [null, 1, 'x'] }],
  ['const', { const: { a: [1] } }],
  ['nullable', { type: ['string', 'null'], minLength: 3 }],
  [
    'unique integers',
    { type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 3, maxItems: 4, uniqueItems: true },
  ],
  ['unique enum', { type: 'array', items: { enum: ['a', 'b', 'c'] }, minItems: 3, uniqueItems: true }],
  [
    'unique objects',
    {
      type: 'array',
      items: { ...node, properties: { value: { type: 'integer' }, next: { type: 'null' } } },
      minItems: 3,
      uniqueItems: true,
    },
  ],
  ['tuples', { type: 'array', prefixItems: [{ type: 'string' }, { type: 'number' }], items: false, minItems: 2 }],
  [
    'recursive arrays',
    { type: 'object', properties: { children: { type: 'array', items: { $ref: '#' } } }, required: ['children'] },
  ],
  ['linked nodes', { $defs: { node }, $ref: '#/$defs/node' }],
  ['null first', { anyOf: [{ type: 'null' }, tagged('a')] }],
  ['tagged alternatives', { oneOf: [tagged('a'), tagged('b')] }],
  [
    'alternatives of required',
    { type: 'object', properties: { a: { type: 'string' } }, anyOf: [{ required: ['a'] }, { required: ['b'] }] },
  ],
  [
    'allOf',
    {
      allOf: [
        { type: 'object', properties: { x: { type: 'number', minimum: 3 } }, required: ['x'] },
        { properties: { x: { type: 'integer', maximum: 3.5 } } },
      ],
    },
  ],
  ['maps', { type: 'object', additionalProperties: { type: 'integer' }, minProperties: 2 }],
  ['required without a property', { type: 'object', required: ['z'] }],
  ['no type', { properties: { a: { items: { type: 'number' }, minItems: 1 } }, required: ['a'] }],
  ['anything', {}],
];

test.each(schemas)('an example of %s', (_name, schema) => {
  expect(problems(schema, exampleOf(schema), schema)).toEqual([]);
  expect(problems(schema, exampleOf(schema, { optional: 'hinted' }), schema)).toEqual([]);
  expect(exampleOf(schema)).toEqual(exampleOf(schema));
});

const { schema: generated } = fc.letrec<{ schema: Schema; leaf: Schema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('leaf'),
    fc.record({
      type: fc.constant('array'),
      items: tie('schema'),
      minItems: fc.nat(3),
      maxItems: fc.integer({ min: 3, max: 6 }),
    }),
    fc
      .tuple(
        fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), tie('schema'), { maxKeys: 4 }),
        fc.boolean(),
        fc.boolean(),
      )
      .map(([properties, all, closed]) => ({
        type: 'object',
        properties,
        required: Object.keys(properties).slice(all ? 0 : 1),
        ...(closed ? { additionalProperties: false } : {}),
      })),
    fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }) }),
    fc.tuple(tie('schema'), fc.constant({ $ref: '#/$defs/node' })).map(([one, other]) => ({ anyOf: [other, one] })),
    tie('schema').map((one) => ({ allOf: [one] })),
  ),
  leaf: fc.oneof(
    fc
      .tuple(fc.nat(30), fc.nat(30))
      .map(([minLength, more]) => ({ type: 'string', minLength, maxLength: minLength + more })),
    fc.constantFrom(...Object.keys(formats)).map((format) => ({ type: 'string', format })),
    fc
      .tuple(fc.integer({ min: -1_000, max: 1_000 }), fc.nat(50))
      .map(([minimum, more]) => ({ type: 'integer', minimum, maximum: minimum + more })),
    fc
      .tuple(fc.integer({ min: -1_000, max: 1_000 }), fc.nat(50))
      .map(([minimum, more]) => ({ type: 'number', exclusiveMinimum: minimum, maximum: minimum + more + 0.5 })),
    fc
      .array(fc.oneof(fc.string(), fc.integer(), fc.constant(null)), { minLength: 1, maxLength: 4 })
      .map((values) => ({ enum: values })),
    fc.constantFrom<Schema>(
      { type: 'boolean' },
      { type: 'null' },
      { type: ['integer', 'null'] },
      { $ref: '#/$defs/node' },
    ),
  ),
}));

test('an example of every schema of the supported kind satisfies it', () => {
  fc.assert(
    fc.property(generated, fc.constantFrom('all' as const, 'hinted' as const), (schema, optional) => {
      const root = { ...schema, $defs: { node } };
      expect(problems(root, exampleOf(root, { optional }), root)).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

/** How long the example is; nothing where the schema is too large for one. */
function sizeOf(schema: Schema): number {
  try {
    return JSON.stringify(exampleOf(schema)).length;
  } catch (thrown) {
    expect(thrown).toMatchObject({ kind: 'invalid_request' });
    return 0;
  }
}

describe('schemas without end are bounded', () => {
  const doubling: Schema = { $ref: '#/$defs/a0', $defs: { a60: { type: 'string' } } };
  for (let level = 0; level < 60; level += 1) {
    const next = { $ref: `#/$defs/a${level + 1}` };
    doubling['$defs'][`a${level}`] = { type: 'object', properties: { a: next, b: next }, required: ['a', 'b'] };
  }
  const keys = Array.from({ length: 30 }, (_, index) => `p${index}`);
  test.each<[string, Schema]>([
    ['doubling', doubling],
    ['a reference to itself', { $ref: '#' }],
    ['allOf of itself', { allOf: [{ $ref: '#' }, { $ref: '#' }] }],
    ['anyOf of itself', { anyOf: [{ $ref: '#' }, { $ref: '#' }] }],
    ['required itself', { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }],
    [
      'giant arrays of giant strings',
      {
        type: 'array',
        minItems: 1e9,
        items: { type: 'array', minItems: 1e9, items: { type: 'string', minLength: 1e9 } },
      },
    ],
    ['giant patterns', { type: 'string', pattern: '((a{9999}){9999}){9999}' }],
    ['deep patterns', { type: 'string', pattern: '('.repeat(100_000) }],
    [
      'wide recursion',
      {
        type: 'object',
        properties: Object.fromEntries(keys.map((key) => [key, { anyOf: [{ $ref: '#' }, { type: 'null' }] }])),
        required: keys,
      },
    ],
    ['unknown references', { $ref: '#/$defs/none' }],
    [
      'nonsense',
      { type: 7, properties: [], required: 'x', items: 3, enum: {}, minItems: 'x', anyOf: [1], minimum: 'y' },
    ],
  ])('%s', (_name, schema) => {
    const startedMs = performance.now();
    expect(sizeOf(schema)).toBeLessThan(3_000_000);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });
});

test('the model answers with it, values taken from the words', async () => {
  const schema: JsonObject = {
    type: 'object',
    properties: { name: { type: 'string' }, age: { type: 'integer', minimum: 30 }, mood: { enum: ['sad', 'glad'] } },
    required: ['name', 'age', 'mood'],
    additionalProperties: false,
  };
  const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 4 });
  const items = [userSays('Ada is 36 and glad to have 2 cats.')];
  const { events, ended } = run(model, modelCall({ items, format: { type: 'json_schema', name: 'person', schema } }));
  await ended;
  expect(JSON.parse(textOf(events))).toEqual({ name: 'Ada', age: 36, mood: 'glad' });
});
