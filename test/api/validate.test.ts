import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { createConversationSchema, createItemsSchema, updateConversationSchema } from '../../src/api/conversations.ts';
import { createResponseSchema } from '../../src/api/create-response.ts';
import { includeQuerySchema, listQuerySchema, retrieveQuerySchema } from '../../src/api/queries.ts';
import { validate } from '../../src/api/validate.ts';

type Refusal = readonly [body: unknown, code: string, param: string | null];

const missing = 'missing_required_parameter';
const type = 'invalid_type';
const value = 'invalid_value';
const unknown = 'unknown_parameter';
const unsupported = 'unsupported_value';

/** JSON as it comes over the wire, `__proto__` keys and all. */
function wire(text: string): unknown {
  return JSON.parse(text);
}

function reject<T extends z.ZodType>(schema: T, body: unknown) {
  return validate(schema, body, { unknownFields: 'reject' });
}

function label(body: unknown): string {
  const text = JSON.stringify(body) ?? 'undefined';
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

/** Every refusal has its code and its path, and a sentence without anything from the inside. */
function refuses(name: string, schema: z.ZodType, table: readonly Refusal[]): void {
  describe(name, () => {
    it.each(table.map(([body, code, param]) => [label(body), body, code, param] as const))(
      'refuses %s',
      (_label, body, code, param) => {
        const result = reject(schema, body);
        expect(result).toMatchObject({ ok: false, problem: { code, param } });
        if (result.ok) return;
        const { message } = result.problem;
        expect(message).toMatch(/^[A-Z`].{8,600}\.$/s);
        expect(message).not.toMatch(/undefined|\[object|NaN|\bZod|=>|\n|Infinity/);
        if (code === missing || code === unknown || code === type) expect(message).toContain(param ?? 'the body');
      },
    );
  });
}

const m = { model: 'm' };
const withItem = (item: unknown) => ({ ...m, input: [item] });
const withPart = (part: unknown) => withItem({ role: 'user', content: [part] });
const withSaid = (part: unknown) => withItem({ role: 'assistant', content: [part] });
const withTool = (tool: unknown) => ({ ...m, tools: [tool] });
const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 'v']));
const long = (length: number) => 'x'.repeat(length);
const tooLong = 10_485_761;

refuses('the body', createResponseSchema, [
  [null, type, null],
  [undefined, missing, null],
  [[], type, null],
  ['{}', type, null],
  [5, type, null],
  [true, type, null],
  [{}, missing, 'model'],
  [{ input: 'x' }, missing, 'model'],
  [{ model: 5 }, type, 'model'],
  [{ model: null }, type, 'model'],
  [{ model: ['m'] }, type, 'model'],
  [{ model: '' }, 'string_below_min_length', 'model'],
  [{ model: long(513) }, 'string_above_max_length', 'model'],
]);

refuses('fields', createResponseSchema, [
  [{ ...m, input: 5 }, type, 'input'],
  [{ ...m, input: {} }, type, 'input'],
  [{ ...m, input: true }, type, 'input'],
  [{ ...m, input: long(tooLong) }, 'string_above_max_length', 'input'],
  [{ ...m, instructions: ['x'] }, type, 'instructions'],
  [{ ...m, previous_response_id: 5 }, type, 'previous_response_id'],
  [{ ...m, previous_response_id: long(257) }, 'string_above_max_length', 'previous_response_id'],
  [{ ...m, conversation: 5 }, type, 'conversation'],
  [{ ...m, conversation: [] }, type, 'conversation'],
  [{ ...m, conversation: {} }, missing, 'conversation.id'],
  [{ ...m, conversation: { id: 5 } }, type, 'conversation.id'],
  [{ ...m, conversation: { id: null } }, type, 'conversation.id'],
  [{ ...m, conversation: { id: 'c', name: 'x' } }, unknown, 'conversation.name'],
  [{ ...m, store: 'true' }, type, 'store'],
  [{ ...m, store: 1 }, type, 'store'],
  [{ ...m, stream: 0 }, type, 'stream'],
  [{ ...m, stream_options: true }, type, 'stream_options'],
  [{ ...m, stream_options: { include_usage: true } }, unknown, 'stream_options.include_usage'],
  [{ ...m, include: 'reasoning.encrypted_content' }, type, 'include'],
  [{ ...m, include: ['usage'] }, value, 'include[0]'],
  [{ ...m, include: ['reasoning.encrypted_content', null] }, value, 'include[1]'],
  [{ ...m, include: Array(65).fill('reasoning.encrypted_content') }, 'array_above_max_length', 'include'],
  [{ ...m, parallel_tool_calls: 'no' }, type, 'parallel_tool_calls'],
  [{ ...m, service_tier: 'gold' }, value, 'service_tier'],
  [{ ...m, user: 5 }, type, 'user'],
  [{ ...m, safety_identifier: long(65) }, 'string_above_max_length', 'safety_identifier'],
  [{ ...m, prompt_cache_retention: '48h' }, value, 'prompt_cache_retention'],
  [{ ...m, prompt_cache_options: { ttl: 5 } }, type, 'prompt_cache_options.ttl'],
  [{ ...m, truncation: 'auto' }, unsupported, 'truncation'],
  [{ ...m, truncation: 'never' }, value, 'truncation'],
  [{ ...m, background: true }, unsupported, 'background'],
  [{ ...m, background: 'x' }, type, 'background'],
  [{ ...m, prompt: { id: 'p' } }, unsupported, 'prompt'],
  [{ ...m, moderation: false }, unsupported, 'moderation'],
  [{ ...m, context_management: [] }, unsupported, 'context_management'],
]);

refuses('numbers', createResponseSchema, [
  [{ ...m, temperature: '1' }, type, 'temperature'],
  [{ ...m, temperature: 2.1 }, 'decimal_above_max_value', 'temperature'],
  [{ ...m, temperature: 3 }, 'decimal_above_max_value', 'temperature'],
  [{ ...m, temperature: -1 }, 'decimal_below_min_value', 'temperature'],
  [wire('{"model":"m","temperature":1e999}'), type, 'temperature'],
  [{ ...m, top_p: 1.01 }, 'decimal_above_max_value', 'top_p'],
  [{ ...m, presence_penalty: -3 }, 'decimal_below_min_value', 'presence_penalty'],
  [{ ...m, frequency_penalty: {} }, type, 'frequency_penalty'],
  [{ ...m, max_output_tokens: 15 }, 'integer_below_min_value', 'max_output_tokens'],
  [{ ...m, max_output_tokens: -1e20 }, 'integer_below_min_value', 'max_output_tokens'],
  [{ ...m, max_output_tokens: 1e20 }, 'integer_above_max_value', 'max_output_tokens'],
  [{ ...m, max_output_tokens: 16.5 }, type, 'max_output_tokens'],
  [{ ...m, max_output_tokens: '16' }, type, 'max_output_tokens'],
  [{ ...m, max_tool_calls: 0 }, 'integer_below_min_value', 'max_tool_calls'],
  [{ ...m, top_logprobs: 21 }, 'integer_above_max_value', 'top_logprobs'],
  [{ ...m, top_logprobs: -1 }, 'integer_below_min_value', 'top_logprobs'],
]);

refuses('metadata', createResponseSchema, [
  [{ ...m, metadata: [] }, type, 'metadata'],
  [{ ...m, metadata: 'a=b' }, type, 'metadata'],
  [{ ...m, metadata: { a: null } }, type, 'metadata.a'],
  [{ ...m, metadata: { a: 5 } }, type, 'metadata.a'],
  [{ ...m, metadata: { a: { b: 'c' } } }, type, 'metadata.a'],
  [{ ...m, metadata: { a: long(513) } }, 'string_above_max_length', 'metadata.a'],
  [{ ...m, metadata: { [long(65)]: 'v' } }, 'string_above_max_length', 'metadata'],
  [{ ...m, metadata: pairs(17) }, 'object_above_max_properties', 'metadata'],
  [wire('{"model":"m","metadata":{"__proto__":{"a":"b"}}}'), type, 'metadata.__proto__'],
]);

refuses('items', createResponseSchema, [
  [withItem(5), type, 'input[0]'],
  [withItem(null), type, 'input[0]'],
  [withItem('x'), type, 'input[0]'],
  [withItem([]), type, 'input[0]'],
  [withItem({}), missing, 'input[0].type'],
  [withItem({ content: 'x' }), missing, 'input[0].type'],
  [withItem({ id: 5 }), missing, 'input[0].type'],
  [withItem({ type: 'bogus' }), value, 'input[0].type'],
  [withItem({ type: 5 }), value, 'input[0].type'],
  [withItem({ type: ['message'], role: 'user', content: 'x' }), value, 'input[0].type'],
  [withItem({ type: 'constructor' }), value, 'input[0].type'],
  [withItem({ type: '__proto__' }), value, 'input[0].type'],
  [withItem({ type: long(1_000) }), value, 'input[0].type'],
  [withItem({ type: 'web_search_call', id: 'ws_1' }), unsupported, 'input[0].type'],
  [withItem({ type: 'compaction', encrypted_content: 'x' }), unsupported, 'input[0].type'],
  [withItem({ type: 'message', content: 'x' }), missing, 'input[0].role'],
  [withItem({ role: 'tool', content: 'x' }), value, 'input[0].role'],
  [withItem({ role: null, content: 'x' }), value, 'input[0].role'],
  [withItem({ role: 'user' }), missing, 'input[0].content'],
  [withItem({ role: 'user', content: null }), type, 'input[0].content'],
  [withItem({ role: 'user', content: {} }), type, 'input[0].content'],
  [withItem({ role: 'user', content: long(tooLong) }), 'string_above_max_length', 'input[0].content'],
  [withItem({ role: 'user', content: 'x', name: 'Ada' }), unknown, 'input[0].name'],
  [withItem({ role: 'user', content: 'x', status: 'done' }), value, 'input[0].status'],
  [withItem({ role: 'user', content: 'x', phase: 'now' }), value, 'input[0].phase'],
  [withItem({ role: 'user', content: 'x', id: 'a b' }), value, 'input[0].id'],
  [withItem({ role: 'user', content: 'x', id: '' }), 'string_below_min_length', 'input[0].id'],
  [withItem({ role: 'user', content: 'x', id: long(257) }), 'string_above_max_length', 'input[0].id'],
  [withItem({ type: 'item_reference' }), missing, 'input[0].id'],
  [withItem({ type: 'item_reference', id: null }), type, 'input[0].id'],
  [withItem({ id: '../x' }), value, 'input[0].id'],
  [withItem({ type: 'function_call' }), missing, 'input[0].call_id'],
  [withItem({ type: 'function_call', call_id: 'c', name: 'n' }), missing, 'input[0].arguments'],
  [withItem({ type: 'function_call', call_id: 'c', name: 'n', arguments: {} }), type, 'input[0].arguments'],
  [
    withItem({ type: 'function_call', call_id: '', name: 'n', arguments: '' }),
    'string_below_min_length',
    'input[0].call_id',
  ],
  [withItem({ type: 'function_call_output', call_id: 'c' }), missing, 'input[0].output'],
  [withItem({ type: 'function_call_output', call_id: 'c', output: {} }), type, 'input[0].output'],
  [withItem({ type: 'function_call_output', call_id: 'c', output: null }), type, 'input[0].output'],
  [
    withItem({ type: 'function_call_output', call_id: long(65), output: '' }),
    'string_above_max_length',
    'input[0].call_id',
  ],
  [withItem({ type: 'function_call_output', output: 'x' }), missing, 'input[0].call_id'],
  [withItem({ type: 'reasoning' }), missing, 'input[0].summary'],
  [withItem({ type: 'reasoning', summary: null }), type, 'input[0].summary'],
  [withItem({ type: 'reasoning', summary: ['x'] }), type, 'input[0].summary[0]'],
  [withItem({ type: 'reasoning', summary: [{ type: 'text', text: '' }] }), value, 'input[0].summary[0].type'],
  [
    {
      ...m,
      input: [
        { role: 'user', content: 'x' },
        { role: 'user', content: 5 },
      ],
    },
    type,
    'input[1].content',
  ],
]);

refuses('parts', createResponseSchema, [
  [withPart('x'), type, 'input[0].content[0]'],
  [withPart(null), type, 'input[0].content[0]'],
  [withPart({ text: 'x' }), missing, 'input[0].content[0].type'],
  [withPart({ type: 'text', text: 'x' }), value, 'input[0].content[0].type'],
  [withPart({ type: 'output_text', text: 'x' }), value, 'input[0].content[0].type'],
  [withPart({ type: 'input_text' }), missing, 'input[0].content[0].text'],
  [withPart({ type: 'input_text', text: null }), type, 'input[0].content[0].text'],
  [withPart({ type: 'input_text', text: 'x', bold: true }), unknown, 'input[0].content[0].bold'],
  [withPart({ type: 'input_file', file_id: 'f' }), unsupported, 'input[0].content[0].type'],
  [withPart({ type: 'input_image' }), missing, 'input[0].content[0].image_url'],
  [withPart({ type: 'input_image', image_url: null }), missing, 'input[0].content[0].image_url'],
  [withPart({ type: 'input_image', image_url: { url: 'x' } }), type, 'input[0].content[0].image_url'],
  [withPart({ type: 'input_image', image_url: 'javascript:alert(1)' }), value, 'input[0].content[0].image_url'],
  [withPart({ type: 'input_image', image_url: 'file:///etc/passwd' }), value, 'input[0].content[0].image_url'],
  [withPart({ type: 'input_image', file_id: 'f' }), unsupported, 'input[0].content[0].file_id'],
  [
    withPart({ type: 'input_image', image_url: 'http://x/a.png', detail: 'ultra' }),
    value,
    'input[0].content[0].detail',
  ],
  [withSaid({ type: 'input_image', image_url: 'http://x/a.png' }), value, 'input[0].content[0].type'],
  [withSaid({ type: 'output_text' }), missing, 'input[0].content[0].text'],
  [withSaid({ type: 'output_text', text: 'x', annotations: [{}] }), missing, 'input[0].content[0].annotations[0].type'],
  [withSaid({ type: 'output_text', text: 'x', logprobs: [5] }), type, 'input[0].content[0].logprobs[0]'],
  [withSaid({ type: 'refusal', text: 'x' }), missing, 'input[0].content[0].refusal'],
]);

refuses('tools and formats', createResponseSchema, [
  [{ ...m, tools: {} }, type, 'tools'],
  [withTool(null), type, 'tools[0]'],
  [withTool({}), missing, 'tools[0].type'],
  [withTool({ type: null, name: 'f' }), value, 'tools[0].type'],
  [withTool({ type: 'bogus' }), value, 'tools[0].type'],
  [withTool({ type: 'web_search' }), unsupported, 'tools[0].type'],
  [withTool({ type: 'function' }), missing, 'tools[0].name'],
  [withTool({ type: 'function', function: { name: 'f' } }), missing, 'tools[0].name'],
  [withTool({ type: 'function', name: 'a b' }), value, 'tools[0].name'],
  [withTool({ type: 'function', name: long(129) }), 'string_above_max_length', 'tools[0].name'],
  [withTool({ type: 'function', name: 'f', parameters: [] }), type, 'tools[0].parameters'],
  [withTool({ type: 'function', name: 'f', parameters: '{}' }), type, 'tools[0].parameters'],
  [withTool({ type: 'function', name: 'f', extra: 1 }), unknown, 'tools[0].extra'],
  [{ ...m, tools: Array(2).fill({ type: 'function', name: 'f' }) }, value, 'tools[1].name'],
  [{ ...m, tools: Array(513).fill({ type: 'function', name: 'f' }) }, 'array_above_max_length', 'tools'],
  [{ ...m, tool_choice: 'any' }, value, 'tool_choice'],
  [{ ...m, tool_choice: 5 }, type, 'tool_choice'],
  [{ ...m, tool_choice: [] }, type, 'tool_choice'],
  [{ ...m, tool_choice: {} }, missing, 'tool_choice.type'],
  [{ ...m, tool_choice: { type: 'bogus' } }, value, 'tool_choice.type'],
  [{ ...m, tool_choice: { type: 'function' } }, missing, 'tool_choice.name'],
  [{ ...m, tool_choice: { type: 'function', function: { name: 'f' } } }, missing, 'tool_choice.name'],
  [
    { ...m, tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [] } },
    'array_below_min_length',
    'tool_choice.tools',
  ],
  [{ ...m, tool_choice: { type: 'allowed_tools', tools: [{ type: 'function' }] } }, missing, 'tool_choice.mode'],
  [{ ...m, tool_choice: { type: 'allowed_tools', mode: 'auto', tools: ['f'] } }, type, 'tool_choice.tools[0]'],
  [{ ...m, text: 'json' }, type, 'text'],
  [{ ...m, text: { format: 'json' } }, type, 'text.format'],
  [{ ...m, text: { format: {} } }, missing, 'text.format.type'],
  [{ ...m, text: { format: { type: 'xml' } } }, value, 'text.format.type'],
  [{ ...m, text: { format: { type: 'json_schema', name: 'n' } } }, missing, 'text.format.schema'],
  [{ ...m, text: { format: { type: 'json_schema', name: 'n', schema: null } } }, type, 'text.format.schema'],
  [{ ...m, text: { format: { type: 'json_schema', name: 'a b', schema: {} } } }, value, 'text.format.name'],
  [{ ...m, text: { verbosity: 'loud' } }, value, 'text.verbosity'],
  [{ ...m, response_format: { type: 'json_object' } }, unknown, 'response_format'],
  [{ ...m, reasoning: 'high' }, type, 'reasoning'],
  [{ ...m, reasoning: { effort: 'extreme' } }, value, 'reasoning.effort'],
  [{ ...m, reasoning: { context: 'all_turns' } }, unsupported, 'reasoning.context'],
  [{ ...m, reasoning: { mode: 'x' } }, unsupported, 'reasoning.mode'],
]);

refuses('unknown fields', createResponseSchema, [
  [{ ...m, foo: 1 }, unknown, 'foo'],
  [{ ...m, foo: false }, unknown, 'foo'],
  [{ ...m, foo: '' }, unknown, 'foo'],
  [{ ...m, foo: null, bar: 1 }, unknown, 'bar'],
  [{ ...m, messages: [] }, unknown, 'messages'],
  [{ ...m, max_tokens: 5 }, unknown, 'max_tokens'],
  [{ ...m, constructor: { prototype: { polluted: 1 } } }, unknown, 'constructor'],
  [{ ...m, toString: 1 }, unknown, 'toString'],
  [{ ...m, hasOwnProperty: 1 }, unknown, 'hasOwnProperty'],
  [wire('{"model":"m","__proto__":{"store":true}}'), unknown, '__proto__'],
  [wire('{"model":"m","input":[{"role":"user","content":"x","__proto__":{"a":1}}]}'), unknown, 'input[0].__proto__'],
  [wire('{"model":"m","input":[{"__proto__":{"role":"user"},"content":"x"}]}'), missing, 'input[0].type'],
  [wire('{"__proto__":{"model":"m"}}'), missing, 'model'],
  [wire('{"model":"m","conversation":{"__proto__":{"id":"c"}}}'), missing, 'conversation.id'],
  // A wrong type says more than an unknown field.
  [{ model: 5, foo: 1 }, type, 'model'],
]);

refuses('creating a conversation', createConversationSchema, [
  [[], type, null],
  [{ metadata: 'x' }, type, 'metadata'],
  [{ items: {} }, type, 'items'],
  [{ items: Array(21).fill({ role: 'user', content: 'x' }) }, 'array_above_max_length', 'items'],
  [{ items: [{ role: 'user', content: [5] }] }, type, 'items[0].content[0]'],
  [{ name: 'x' }, unknown, 'name'],
]);

refuses('updating a conversation', updateConversationSchema, [
  [{}, missing, 'metadata'],
  [{ metadata: null }, type, 'metadata'],
  [{ metadata: 5 }, type, 'metadata'],
  [{ metadata: pairs(17) }, 'object_above_max_properties', 'metadata'],
  [{ metadata: {}, items: [] }, unknown, 'items'],
]);

refuses('creating items', createItemsSchema, [
  [{}, missing, 'items'],
  [{ items: null }, type, 'items'],
  [{ items: 'x' }, type, 'items'],
  [{ items: [{ type: 'message', role: 'user' }] }, missing, 'items[0].content'],
  [{ items: Array(21).fill({ role: 'user', content: 'x' }) }, 'array_above_max_length', 'items'],
]);

refuses('queries of lists', listQuerySchema, [
  [{ limit: 'abc' }, type, 'limit'],
  [{ limit: '1.5' }, type, 'limit'],
  [{ limit: 'Infinity' }, type, 'limit'],
  [{ limit: 'NaN' }, type, 'limit'],
  [{ limit: '1e30' }, type, 'limit'],
  [{ limit: '0' }, 'integer_below_min_value', 'limit'],
  [{ limit: '101' }, 'integer_above_max_value', 'limit'],
  [{ order: 'up' }, value, 'order'],
  [{ order: '' }, value, 'order'],
  [{ after: '' }, 'string_below_min_length', 'after'],
  [{ after: long(257) }, 'string_above_max_length', 'after'],
  [{ include: ['everything'] }, value, 'include[0]'],
  [{ before: 'x' }, unknown, 'before'],
  [{ 'metadata[k]': 'v' }, unknown, 'metadata[k]'],
  [wire('{"__proto__":"x"}'), unknown, '__proto__'],
]);

refuses('queries of one response', retrieveQuerySchema, [
  [{ stream: '1' }, value, 'stream'],
  [{ stream: '' }, value, 'stream'],
  [{ starting_after: 'x' }, type, 'starting_after'],
  [{ starting_after: '' }, type, 'starting_after'],
  [{ starting_after: '1.5' }, type, 'starting_after'],
  [{ include_obfuscation: 'yes' }, value, 'include_obfuscation'],
  [{ limit: '5' }, unknown, 'limit'],
]);

refuses('other queries', includeQuerySchema, [[{ limit: '5' }, unknown, 'limit']]);
