import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/api/primitives.ts';
import { Budget, defaultLimits, type Limits } from '../../src/models/demo/budget.ts';
import { createDemoModel } from '../../src/models/demo/demo.ts';
import { hintsFrom } from '../../src/models/demo/hints.ts';
import { exampleOf } from '../../src/models/demo/schema-example.ts';
import { countTokens, cutToTokens } from '../../src/models/demo/tokens.ts';
import { modelCall, run, textOf, userSays } from '../contracts/model.ts';

const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 1_000 });
const names = (count: number) => Array.from({ length: count }, (_, index) => `k${index}`);
const each = (count: number, schema: JsonObject) => Object.fromEntries(names(count).map((name) => [name, schema]));
const object = (count: number, schema: JsonObject) => ({
  type: 'object',
  properties: each(count, schema),
  required: names(count),
});

async function answered(schema: JsonObject, text = 'Hello') {
  const items = [userSays(text)];
  const { events, ended } = run(model, modelCall({ items, format: { type: 'json_schema', name: 'x', schema } }));
  return { end: await ended, events };
}

function example(schema: JsonObject, text: string, limits: Partial<Limits>): unknown {
  const budget = new Budget({ ...defaultLimits, ...limits });
  return exampleOf(schema, { hints: hintsFrom(text, budget), optional: 'all' }, budget);
}

describe('a schema that is too large ends with an error', () => {
  const fan: Record<string, JsonObject> = { a30: { type: 'string' } };
  for (let level = 0; level < 30; level += 1) fan[`a${level}`] = object(8, { $ref: `#/$defs/a${level + 1}` });
  const deep = Array.from({ length: 1_000 }).reduce<unknown>((inner) => [inner], 1);
  const enums = { $ref: '#/$defs/e', $defs: { e: { enum: names(20_000) } }, allOf: [{ enum: names(20_000) }] };
  test.each<[string, JsonObject]>([
    ['required names', { type: 'object', required: names(20_000) }],
    ['least properties', { type: 'object', minProperties: 1e9, propertyNames: { pattern: '^a' } }],
    ['least items', { type: 'array', minItems: 1e9 }],
    ['least length', { type: 'string', minLength: 1e9 }],
    ['a fan of references', { $ref: '#/$defs/a0', $defs: fan }],
    ['long constants again and again', { type: 'array', minItems: 9, items: { const: 'x'.repeat(400_000) } }],
    ['long names again and again', { type: 'array', minItems: 9, items: { required: ['x'.repeat(400_000)] } }],
    ['deep constants', { const: deep }],
    ['wide constants', { const: names(20_000) }],
    ['merged enums', enums],
    ['alternatives that cannot end', { anyOf: names(200_000).map((name) => ({ required: [name] })) }],
    ['patterns', object(1_000, { type: 'string', pattern: 'abc'.repeat(100) })],
  ])('%s', async (_name, schema) => {
    const { end, events } = await answered(schema);
    expect(end).toMatchObject({
      reason: 'error',
      error: { kind: 'invalid_request', message: 'the schema is too large for the demo model' },
    });
    expect(textOf(events)).toBe('');
  });
});

describe('what is wide but within bounds is answered', () => {
  test.each<[string, JsonObject, unknown]>([
    ['an enum', { enum: names(50_000) }, 'k0'],
    ['an array of enums', { type: 'array', minItems: 3, items: { enum: names(50_000) } }, ['k0', 'k1', 'k2']],
    ['properties', object(5_000, { type: 'string' }), each(5_000, 'example' as unknown as JsonObject)],
    ['alternatives', { anyOf: names(40_000).map((name) => ({ const: name })) }, 'k0'],
  ])('%s', async (_name, schema, expected) => {
    const { end, events } = await answered(schema);
    expect(end).toMatchObject({ reason: 'stop' });
    expect(JSON.parse(textOf(events))).toEqual(expected);
  });
});

describe('the words are looked into only so often', () => {
  test('properties beyond the lookups have plain values', () => {
    const schema = object(4, { type: 'integer' });
    expect(example(schema, '7 8 9 10', {})).toEqual({ k0: 7, k1: 8, k2: 9, k3: 10 });
    expect(example(schema, '7 8 9 10', { lookups: 2 })).toEqual({ k0: 7, k1: 8, k2: 1, k3: 1 });
  });

  test('values of an enum beyond the comparisons are not found', () => {
    const schema = { enum: names(100) };
    expect(example(schema, 'I want k50', {})).toBe('k50');
    expect(example(schema, 'I want k50', { comparisons: 20 })).toBe('k0');
  });

  test('an enum is compared once, however many items have it', () => {
    const schema = { type: 'array', minItems: 200, items: { enum: names(90) } };
    expect(example(schema, 'I want k89', { comparisons: 100 })).toEqual(Array(200).fill('k89'));
  });

  test('nodes are what is written', () => {
    expect(() => example(object(10, { type: 'string' }), '', { nodes: 10 })).toThrow('too large');
    expect(example(object(10, { type: 'string' }), '', { nodes: 11 })).toBeTypeOf('object');
  });
});

test('values of several words are found as whole words in any case', () => {
  const schema = { enum: ['light', 'Light Blue', '°C', 'red'] };
  expect(example(schema, 'a LIGHT BLUE lightning', {})).toBe('light');
  expect(example({ enum: ['ight', 'blue light', 'Light Blue'] }, 'LIGHT BLUE', {})).toBe('Light Blue');
  expect(example({ enum: ['red', '°C'] }, 'in °C, reddish', {})).toBe('°C');
});

test('tokens of long texts are counted by their beginning, and cut accordingly', () => {
  const text = 'four '.repeat(100_000);
  const total = countTokens(text);
  expect(cutToTokens(text, total)).toEqual({ text, tokens: total, cut: false });
  let before = 0;
  for (const most of [1, 10_000, 20_000, 50_000, total - 1]) {
    const part = cutToTokens(text, most);
    expect(part).toMatchObject({ tokens: most, cut: true });
    expect(part.text.length).toBeGreaterThan(before);
    expect(part.text.length).toBeLessThan(text.length);
    before = part.text.length;
  }
});
