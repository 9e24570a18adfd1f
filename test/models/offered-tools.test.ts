import { describe, expect, test } from 'vitest';
import type { ModelTool } from '../../src/model.ts';
import { OfferedTools, unwrapInput, wrapInput } from '../../src/models/upstream/offered-tools.ts';

const none = { namespaces: false, customTools: false };
const all = { namespaces: true, customTools: true };
const tool = (name: string, namespace?: string, type: 'function' | 'custom' = 'function'): ModelTool => {
  const group = namespace === undefined ? {} : { namespace: { name: namespace, description: 'A group.' } };
  return { type, name, ...group };
};

describe('the names of offered tools', () => {
  test('are joined where there are no namespaces, and found again', () => {
    const tools = new OfferedTools([tool('lookup', 'crm'), tool('lookup'), tool('sql', 'db', 'custom')], none);
    expect(tools.nameOf('lookup', 'crm')).toBe('crm__lookup');
    expect(tools.nameOf('lookup', undefined)).toBe('lookup');
    expect(tools.named('crm__lookup', undefined)).toEqual({ name: 'lookup', namespace: 'crm', isCustom: false });
    expect(tools.named('lookup', undefined)).toEqual({ name: 'lookup', namespace: undefined, isCustom: false });
    expect(tools.named('db__sql', undefined)).toEqual({ name: 'sql', namespace: 'db', isCustom: true });
  });

  test('stay as they are where there are namespaces', () => {
    const tools = new OfferedTools([tool('lookup', 'crm')], all);
    expect(tools.nameOf('lookup', 'crm')).toBe('lookup');
    expect(tools.named('lookup', 'crm')).toEqual({ name: 'lookup', namespace: 'crm', isCustom: false });
  });

  test('are at most 64 characters long, and no two are the same', () => {
    const long = 'n'.repeat(60);
    const given = [
      tool('a__b'),
      tool('b', 'a'),
      tool(`${long}1`, 'group'),
      tool(`${long}2`, 'group'),
      tool('c', 'a__b'),
      tool('b__c', 'a'),
    ];
    const tools = new OfferedTools(given, none);
    const names = given.map((each) => 'name' in each && tools.nameOf(String(each.name), namespaceOf(each)));
    expect(new Set(names).size).toBe(given.length);
    expect(names.every((name) => /^[A-Za-z0-9_-]{1,64}$/.test(String(name)))).toBe(true);
    for (const [index, name] of names.entries()) {
      const each = given[index];
      expect(tools.named(String(name), undefined)).toMatchObject({ name: each && 'name' in each && each.name });
    }
  });

  test('of calls in earlier turns are the same, whether or not the tool is still offered', () => {
    const offered = new OfferedTools([tool('n'.repeat(70), 'group')], none);
    const gone = new OfferedTools([], none);
    expect(gone.nameOf('n'.repeat(70), 'group')).toBe(offered.nameOf('n'.repeat(70), 'group'));
  });

  test('that nobody offered are told as they came', () => {
    expect(new OfferedTools([], none).named('made__up', undefined)).toEqual({
      name: 'made__up',
      namespace: undefined,
      isCustom: false,
    });
  });
});

test.each([
  ['{"input":"a \\"b\\""}', 'a "b"'],
  ['{"sql":"select 1"}', 'select 1'],
  ['{"input":"a","why":"b"}', 'a'],
  ['{"a":"x","b":"y"}', '{"a":"x","b":"y"}'],
  ['{"input":7}', '{"input":7}'],
  ['"select 1"', 'select 1'],
  ['select 1', 'select 1'],
  ['[1]', '[1]'],
  ['', ''],
])('the input of a custom tool in %s', (given, input) => {
  expect(unwrapInput(given)).toBe(input);
  expect(unwrapInput(wrapInput(given))).toBe(given);
});

function namespaceOf(each: ModelTool): string | undefined {
  return each.type === 'function' || each.type === 'custom' ? each.namespace?.name : undefined;
}
