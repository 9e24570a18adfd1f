import { describe, expect, it } from 'vitest';
import { createResponseSchema } from '../../src/api/create-response.ts';
import { hostedItemTypes, hostedToolTypes } from '../support/wire-hosted.ts';
import { long, m, refuses, reject, tooLong, wire, withItem, withPart, withSaid, withTool } from './refusals.ts';

const missing = 'missing_required_parameter';
const type = 'invalid_type';
const value = 'invalid_value';
const unknown = 'unknown_parameter';
const unsupported = 'unsupported_value';

const custom = { type: 'custom', name: 'c' };
const group = { type: 'namespace', name: 'n', description: 'x', tools: [custom] };
const call = { type: 'custom_tool_call', call_id: 'c', name: 'n', input: 'x' };
const output = { type: 'custom_tool_call_output', call_id: 'c', output: 'x' };
const file = { type: 'input_file', file_data: 'data:text/plain;base64,AA' };
const grammar = { type: 'grammar', syntax: 'lark', definition: 'x' };
const withFormat = (format: unknown) => withTool({ ...custom, format });
const inside = (tool: unknown) => withTool({ ...group, tools: [tool] });
const choice = (tool_choice: unknown) => ({ ...m, tools: [custom], tool_choice });

refuses('custom tools', createResponseSchema, [
  [withTool({ type: 'custom' }), missing, 'tools[0].name'],
  [withTool({ ...custom, name: 5 }), type, 'tools[0].name'],
  [withTool({ ...custom, name: '' }), 'string_below_min_length', 'tools[0].name'],
  [withTool({ ...custom, name: 'a b' }), value, 'tools[0].name'],
  [withTool({ ...custom, name: long(129) }), 'string_above_max_length', 'tools[0].name'],
  [withTool({ ...custom, description: {} }), type, 'tools[0].description'],
  [withTool({ ...custom, parameters: {} }), unknown, 'tools[0].parameters'],
  [withTool({ ...custom, strict: true }), unknown, 'tools[0].strict'],
  [withTool({ ...custom, custom: { name: 'c' } }), unknown, 'tools[0].custom'],
  [withFormat('text'), type, 'tools[0].format'],
  [withFormat([]), type, 'tools[0].format'],
  [withFormat({}), missing, 'tools[0].format.type'],
  [withFormat({ type: 'json' }), value, 'tools[0].format.type'],
  [withFormat({ type: '__proto__' }), value, 'tools[0].format.type'],
  [withFormat({ type: 'text', definition: 'x' }), unknown, 'tools[0].format.definition'],
  [withFormat({ ...grammar, syntax: undefined }), missing, 'tools[0].format.syntax'],
  [withFormat({ ...grammar, syntax: 'bnf' }), value, 'tools[0].format.syntax'],
  [withFormat({ ...grammar, definition: ['x'] }), type, 'tools[0].format.definition'],
  [withFormat({ ...grammar, definition: long(tooLong) }), 'string_above_max_length', 'tools[0].format.definition'],
  [withFormat({ ...grammar, grammar: {} }), unknown, 'tools[0].format.grammar'],
  [withTool({ ...custom, defer_loading: 'yes' }), type, 'tools[0].defer_loading'],
  [withTool({ ...custom, allowed_callers: 'x' }), type, 'tools[0].allowed_callers'],
  [withTool({ ...custom, allowed_callers: [] }), 'array_below_min_length', 'tools[0].allowed_callers'],
  [withTool({ ...custom, allowed_callers: Array(17).fill('x') }), 'array_above_max_length', 'tools[0].allowed_callers'],
  [withTool({ ...custom, allowed_callers: [long(65)] }), 'string_above_max_length', 'tools[0].allowed_callers[0]'],
  [withTool({ ...custom, allowed_callers: [{ $ne: 1 }] }), type, 'tools[0].allowed_callers[0]'],
  [withTool({ type: 'function', name: 'f', output_schema: [] }), type, 'tools[0].output_schema'],
  [withTool({ type: 'function', name: 'f', output_schema: 'x' }), type, 'tools[0].output_schema'],
  [withTool({ ...custom, output_schema: {} }), unknown, 'tools[0].output_schema'],
  [{ ...m, tools: [custom, { type: 'function', name: 'c' }] }, value, 'tools[1].name'],
  [wire('{"model":"m","tools":[{"type":"custom","name":"c","__proto__":{"a":1}}]}'), unknown, 'tools[0].__proto__'],
]);

refuses('namespaces', createResponseSchema, [
  [withTool({ ...group, name: undefined }), missing, 'tools[0].name'],
  [withTool({ ...group, name: 'a.b' }), value, 'tools[0].name'],
  [withTool({ ...group, name: long(129) }), 'string_above_max_length', 'tools[0].name'],
  [withTool({ ...group, description: undefined }), missing, 'tools[0].description'],
  [withTool({ ...group, description: null }), type, 'tools[0].description'],
  [withTool({ ...group, tools: undefined }), missing, 'tools[0].tools'],
  [withTool({ ...group, tools: {} }), type, 'tools[0].tools'],
  [withTool({ ...group, tools: [] }), 'array_below_min_length', 'tools[0].tools'],
  [withTool({ ...group, tools: Array(513).fill(custom) }), 'array_above_max_length', 'tools[0].tools'],
  [withTool({ ...group, extra: 1 }), unknown, 'tools[0].extra'],
  [inside(null), type, 'tools[0].tools[0]'],
  [inside(group), value, 'tools[0].tools[0].type'],
  [inside({ type: 'web_search' }), value, 'tools[0].tools[0].type'],
  [inside({ ...custom, name: 'a b' }), value, 'tools[0].tools[0].name'],
  [inside({ ...custom, extra: 1 }), unknown, 'tools[0].tools[0].extra'],
  [withTool({ ...group, tools: [custom, { type: 'function', name: 'c' }] }), value, 'tools[0].tools[1].name'],
  [{ ...m, tools: [group, group] }, value, 'tools[1].tools[0].name'],
]);

refuses('hosted tools', createResponseSchema, [
  [withTool({ type: 'websearch' }), value, 'tools[0].type'],
  [withTool({ type: 'toString' }), value, 'tools[0].type'],
  [withTool({ type: ['web_search'] }), value, 'tools[0].type'],
  [withTool({ web_search: {} }), missing, 'tools[0].type'],
]);

refuses('choices of tools', createResponseSchema, [
  [choice({ type: 'custom' }), missing, 'tool_choice.name'],
  [choice({ type: 'custom', name: '' }), 'string_below_min_length', 'tool_choice.name'],
  [choice({ type: 'custom', name: 'c', namespace: 'n' }), unknown, 'tool_choice.namespace'],
  [choice({ type: 'mcp' }), missing, 'tool_choice.server_label'],
  [choice({ type: 'mcp', server_label: 5 }), type, 'tool_choice.server_label'],
  [choice({ type: 'mcp', server_label: 'a', name: {} }), type, 'tool_choice.name'],
  [choice({ type: 'web_search', name: 'x' }), unknown, 'tool_choice.name'],
  [choice({ type: 'namespace', name: 'n' }), value, 'tool_choice.type'],
  [choice({ type: 'allowed_tools', mode: 'none', tools: [custom] }), value, 'tool_choice.mode'],
  [choice({ type: 'allowed_tools', mode: 'auto', tools: [{ type: 5 }] }), type, 'tool_choice.tools[0].type'],
  [
    choice({ type: 'allowed_tools', mode: 'auto', tools: [{ type: 'custom', name: {} }] }),
    type,
    'tool_choice.tools[0].name',
  ],
  [
    choice({ type: 'allowed_tools', mode: 'auto', tools: Array(513).fill(custom) }),
    'array_above_max_length',
    'tool_choice.tools',
  ],
]);

refuses('calls of custom tools, namespaces of calls', createResponseSchema, [
  [withItem({ ...call, input: undefined }), missing, 'input[0].input'],
  [withItem({ ...call, input: null }), type, 'input[0].input'],
  [withItem({ ...call, input: { a: 1 } }), type, 'input[0].input'],
  [withItem({ ...call, input: long(tooLong) }), 'string_above_max_length', 'input[0].input'],
  [withItem({ ...call, arguments: '{}' }), unknown, 'input[0].arguments'],
  [withItem({ ...call, call_id: undefined }), missing, 'input[0].call_id'],
  [withItem({ ...call, call_id: long(65) }), 'string_above_max_length', 'input[0].call_id'],
  [withItem({ ...call, name: '' }), 'string_below_min_length', 'input[0].name'],
  [withItem({ ...call, name: long(129) }), 'string_above_max_length', 'input[0].name'],
  [withItem({ ...call, namespace: '' }), 'string_below_min_length', 'input[0].namespace'],
  [withItem({ ...call, namespace: long(129) }), 'string_above_max_length', 'input[0].namespace'],
  [withItem({ ...call, namespace: { name: 'n' } }), type, 'input[0].namespace'],
  [withItem({ ...call, status: 'failed' }), value, 'input[0].status'],
  [withItem({ ...call, id: '..' }), value, 'input[0].id'],
  [withItem({ ...output, output: undefined }), missing, 'input[0].output'],
  [withItem({ ...output, output: 5 }), type, 'input[0].output'],
  [withItem({ ...output, output: [{ type: 'output_text', text: 'x' }] }), value, 'input[0].output[0].type'],
  [withItem({ ...output, output: [{ ...file, file_id: 'f' }] }), unsupported, 'input[0].output[0].file_id'],
  [withItem({ ...output, output: long(tooLong) }), 'string_above_max_length', 'input[0].output'],
  [withItem({ ...output, namespace: 'n' }), unknown, 'input[0].namespace'],
  [withItem({ ...output, call_id: '' }), 'string_below_min_length', 'input[0].call_id'],
  [withItem({ ...output, name: '' }), 'string_below_min_length', 'input[0].name'],
]);

refuses('hosted items', createResponseSchema, [
  [withItem({ type: 'web_search_call', id: 5 }), type, 'input[0].id'],
  [withItem({ type: 'web_search_call', id: '' }), 'string_below_min_length', 'input[0].id'],
  [withItem({ type: 'web_search_call', id: '../x' }), value, 'input[0].id'],
  [withItem({ type: 'web_search_call', id: long(257) }), 'string_above_max_length', 'input[0].id'],
  [withItem({ type: 'web_search' }), value, 'input[0].type'],
  [withItem({ type: 'hasOwnProperty' }), value, 'input[0].type'],
]);

refuses('files', createResponseSchema, [
  [withPart({ type: 'input_file' }), missing, 'input[0].content[0].file_data'],
  [withPart({ type: 'input_file', filename: 'a.pdf' }), missing, 'input[0].content[0].file_data'],
  [withPart({ type: 'input_file', file_data: null, file_url: null }), missing, 'input[0].content[0].file_data'],
  [withPart({ type: 'input_file', file_id: 'f' }), unsupported, 'input[0].content[0].file_id'],
  [withPart({ ...file, file_id: 'f' }), unsupported, 'input[0].content[0].file_id'],
  [withPart({ ...file, file_url: 'https://x/a' }), value, 'input[0].content[0].file_data'],
  [withPart({ ...file, file_data: {} }), type, 'input[0].content[0].file_data'],
  [withPart({ type: 'input_file', file_url: 'file:///etc/passwd' }), value, 'input[0].content[0].file_url'],
  [withPart({ type: 'input_file', file_url: 'javascript:alert(1)' }), value, 'input[0].content[0].file_url'],
  [
    withPart({ type: 'input_file', file_url: `https://x/${long(8_192)}` }),
    'string_above_max_length',
    'input[0].content[0].file_url',
  ],
  [withPart({ ...file, file_data: long(33_554_433) }), 'string_above_max_length', 'input[0].content[0].file_data'],
  [withPart({ ...file, filename: long(1_025) }), 'string_above_max_length', 'input[0].content[0].filename'],
  [withPart({ ...file, filename: ['a'] }), type, 'input[0].content[0].filename'],
  [withPart({ ...file, detail: 'original' }), value, 'input[0].content[0].detail'],
  [withPart({ ...file, mime_type: 'x' }), unknown, 'input[0].content[0].mime_type'],
  [
    withPart({ ...file, prompt_cache_breakpoint: { mode: 'x' } }),
    value,
    'input[0].content[0].prompt_cache_breakpoint.mode',
  ],
  [withSaid(file), value, 'input[0].content[0].type'],
]);

refuses('encrypted content, reasoning text and annotations', createResponseSchema, [
  [withItem({ type: 'reasoning', summary: [], encrypted_content: {} }), type, 'input[0].encrypted_content'],
  [withItem({ type: 'reasoning', summary: [], encrypted_content: ['x'] }), type, 'input[0].encrypted_content'],
  [
    withItem({ type: 'reasoning', summary: [], encrypted_content: long(tooLong) }),
    'string_above_max_length',
    'input[0].encrypted_content',
  ],
  [withItem({ type: 'reasoning', summary: [], content: 'x' }), type, 'input[0].content'],
  [
    withItem({ type: 'reasoning', summary: [], content: [{ type: 'summary_text', text: '' }] }),
    value,
    'input[0].content[0].type',
  ],
  [
    withItem({ type: 'reasoning', summary: [], content: [{ type: 'reasoning_text' }] }),
    missing,
    'input[0].content[0].text',
  ],
  [
    withItem({ type: 'reasoning', summary: [], content: Array(2_001).fill({ type: 'reasoning_text', text: '' }) }),
    'array_above_max_length',
    'input[0].content',
  ],
  [withSaid({ type: 'output_text', text: '', annotations: {} }), type, 'input[0].content[0].annotations'],
  [withSaid({ type: 'output_text', text: '', annotations: ['x'] }), type, 'input[0].content[0].annotations[0]'],
  [
    withSaid({ type: 'output_text', text: '', annotations: [{ type: 5 }] }),
    type,
    'input[0].content[0].annotations[0].type',
  ],
]);

describe('what is taken', () => {
  it('every hosted tool and item, with whatever fields it has', () => {
    const tools = hostedToolTypes.map((each) => ({ type: each, deep: { a: [null] } }));
    const input = hostedItemTypes.map((each, index) => ({ type: each, id: `id_${index}`, deep: { a: [null] } }));
    expect(reject(createResponseSchema, { ...m, tools, input })).toEqual({ ok: true, value: { ...m, tools, input } });
  });

  it('one name in several namespaces, and outside them', () => {
    const tools = [custom, group, { ...group, name: 'other' }, { type: 'mcp', name: 'c' }];
    expect(reject(createResponseSchema, { ...m, tools })).toMatchObject({ ok: true });
  });

  it('every choice of a tool', () => {
    for (const tool_choice of [
      { type: 'custom', name: 'c' },
      { type: 'mcp', server_label: 'a' },
      { type: 'mcp', server_label: 'a', name: 'b' },
      ...hostedToolTypes.filter((each) => each !== 'mcp').map((each) => ({ type: each })),
      { type: 'allowed_tools', mode: 'required', tools: [custom, { type: 'mcp', server_label: 'a' }] },
    ]) {
      expect(reject(createResponseSchema, { ...m, tool_choice })).toMatchObject({ ok: true, value: { tool_choice } });
    }
  });

  it.each(['auto', 'default', 'flex', 'scale', 'priority', 'fast', 'ultrafast'])('the tier %s', (service_tier) => {
    expect(reject(createResponseSchema, { ...m, service_tier })).toMatchObject({ ok: true });
  });

  it('an encrypted content of any text', () => {
    for (const encrypted_content of ['', 'orsp1.', 'x', '\u0000', long(100_000)]) {
      const item = { type: 'reasoning', summary: [], encrypted_content };
      expect(reject(createResponseSchema, withItem(item))).toMatchObject({ ok: true, value: { input: [item] } });
    }
  });
});
