import { describe, expect, it } from 'vitest';
import { createResponseSchema } from '../../src/api/create-response.ts';
import { planTools } from '../../src/engine/tool-choice.ts';

const f = { type: 'function', name: 'f' } as const;
const g = { type: 'function', name: 'g' } as const;
const c = { type: 'custom', name: 'c' } as const;
const crm = { type: 'namespace', name: 'crm', description: 'customers', tools: [f, c] } as const;
const mcp = (label: string) => ({ type: 'mcp', server_label: label, server_url: 'https://example.com' }) as const;
const search = { type: 'web_search' } as const;
const tools = [f, g, c, crm, search, mcp('a'), mcp('b')];
const group = { name: 'crm', description: 'customers' };
const all = [f, g, c, { ...f, namespace: group }, { ...c, namespace: group }, search, mcp('a'), mcp('b')];

function planned(choice: unknown, offered: readonly unknown[] = tools) {
  const request = createResponseSchema.parse({ model: 'm', tools: offered, tool_choice: choice });
  return planTools(request);
}

describe('a choice of tools', () => {
  it.each([
    [undefined, 'auto'],
    ['none', 'none'],
    ['required', 'required'],
    [f, { type: 'function', name: 'f' }],
    [c, { type: 'custom', name: 'c' }],
    [
      { type: 'mcp', server_label: 'b' },
      { type: 'hosted', choice: { type: 'mcp', server_label: 'b' } },
    ],
    [search, { type: 'hosted', choice: search }],
  ])('%j offers all, those of a namespace one by one', (choice, expected) => {
    expect(planned(choice)).toEqual({ tools: all, toolChoice: expected });
  });

  it.each([
    ['one function that must be called', 'required', [g], [g], { type: 'function', name: 'g' }],
    ['one that may be', 'auto', [g], [g], 'auto'],
    ['two of which one must be', 'required', [f, c], [f, c], 'required'],
    ['the same twice', 'required', [g, g], [g], { type: 'function', name: 'g' }],
    [
      'a custom tool of a namespace',
      'required',
      [{ ...c, namespace: 'crm' }],
      [{ ...c, namespace: group }],
      { type: 'custom', name: 'c', namespace: 'crm' },
    ],
    [
      'a whole namespace',
      'auto',
      [{ type: 'namespace', name: 'crm' }],
      [
        { ...f, namespace: group },
        { ...c, namespace: group },
      ],
      'auto',
    ],
    [
      'one server',
      'required',
      [{ type: 'mcp', server_label: 'b' }],
      [mcp('b')],
      { type: 'hosted', choice: { type: 'mcp', server_label: 'b' } },
    ],
  ])('allows %s, and nothing else', (_what, mode, allowed, expected, toolChoice) => {
    const choice = { type: 'allowed_tools', mode, tools: allowed };
    expect(planned(choice)).toEqual({ tools: expected, toolChoice });
  });

  it.each([
    [{ type: 'function', name: 'x' }],
    [{ type: 'custom', name: 'f' }],
    [{ type: 'function', name: 'c' }],
    [{ type: 'mcp', server_label: 'x' }],
    [{ type: 'file_search' }],
    [{ type: 'allowed_tools', mode: 'auto', tools: [f, { type: 'function', name: 'x' }] }],
    [{ type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f', namespace: 'x' }] }],
    [{ type: 'allowed_tools', mode: 'auto', tools: [{ type: 'namespace' }] }],
  ])('%j names nothing that is offered', (choice) => {
    expect(() => planned(choice)).toThrow(expect.objectContaining({ param: 'tool_choice', code: 'invalid_value' }));
  });

  it('needs tools where one is required', () => {
    expect(() => planned('required', [])).toThrow(expect.objectContaining({ param: 'tool_choice' }));
  });
});
