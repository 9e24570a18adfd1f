import { describe, expect, test } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import type { ContentPart } from '../../src/api/parts.ts';
import type { ModelCall } from '../../src/model.ts';
import { toChatRequest } from '../../src/models/chat-completions/request.ts';
import { modelCall, userSays } from '../contracts/model.ts';
import { profileOf } from './support.ts';

const body = (fields: Partial<ModelCall>, profile = 'generic') => toChatRequest(modelCall(fields), profileOf(profile));

type Role = 'user' | 'assistant' | 'system' | 'developer';
const message = (role: Role, ...content: ContentPart[]): Item => {
  return { id: 'msg_1', type: 'message', status: 'completed', role, content };
};
const input = (text: string): ContentPart => ({ type: 'input_text', text });
const output = (text: string): ContentPart => ({ type: 'output_text', text, annotations: [], logprobs: [] });
const image = (detail: 'auto' | 'low' | 'high' | 'original') => {
  return { type: 'input_image', image_url: 'https://x.test/a.png', detail } as const;
};
const call = (id: string, name = 'f', args = '{}'): Item => {
  return { id: `fc_${id}`, type: 'function_call', status: 'completed', call_id: id, name, arguments: args };
};
const result = (id: string, value: Extract<Item, { type: 'function_call_output' }>['output']): Item => {
  return { id: `fco_${id}`, type: 'function_call_output', status: 'completed', call_id: id, output: value };
};
const thought: Item = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }] };
const called = (...ids: string[]) =>
  ids.map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } }));

const asImage = (detail?: string) => {
  return { type: 'image_url', image_url: { url: 'https://x.test/a.png', ...(detail !== undefined && { detail }) } };
};

describe('items become messages', () => {
  const table: [string, Item[], unknown[]][] = [
    ['a text', [userSays('hi')], [{ role: 'user', content: 'hi' }]],
    [
      'several parts',
      [message('user', input('a'), input('b'), image('auto'), image('original'), image('low'))],
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
            asImage(),
            asImage('high'),
            asImage('low'),
          ],
        },
      ],
    ],
    ['an image alone', [message('user', image('high'))], [{ role: 'user', content: [asImage('high')] }]],
    ['no parts', [message('user')], [{ role: 'user', content: '' }]],
    [
      "an assistant's parts",
      [message('assistant', output('a'), output('b')), message('assistant', input('c'))],
      [
        { role: 'assistant', content: 'a\nb' },
        { role: 'assistant', content: 'c' },
      ],
    ],
    [
      'system and developer',
      [message('system', input('s')), message('developer', input('d'))],
      [
        { role: 'system', content: 's' },
        { role: 'system', content: 'd' },
      ],
    ],
    ['reasoning', [thought, userSays('hi'), thought], [{ role: 'user', content: 'hi' }]],
    [
      'a refusal, where there is no field for it',
      [message('assistant', { type: 'refusal', refusal: 'no' })],
      [{ role: 'assistant', content: 'no' }],
    ],
    [
      'calls, with the message and the thoughts around them',
      [
        message('assistant', output('Wait.')),
        thought,
        call('a'),
        thought,
        call('b'),
        result('a', '1'),
        result('b', '2'),
      ],
      [
        { role: 'assistant', content: 'Wait.', tool_calls: called('a', 'b') },
        { role: 'tool', tool_call_id: 'a', content: '1' },
        { role: 'tool', tool_call_id: 'b', content: '2' },
      ],
    ],
    [
      'calls in turns',
      [call('a'), result('a', '1'), call('b'), result('b', '2')],
      [
        { role: 'assistant', content: null, tool_calls: called('a') },
        { role: 'tool', tool_call_id: 'a', content: '1' },
        { role: 'assistant', content: null, tool_calls: called('b') },
        { role: 'tool', tool_call_id: 'b', content: '2' },
      ],
    ],
    [
      'an empty message before a call',
      [message('assistant'), call('a'), result('a', '')],
      [
        { role: 'assistant', content: null, tool_calls: called('a') },
        { role: 'tool', tool_call_id: 'a', content: '' },
      ],
    ],
    [
      'outputs that stand apart from their calls',
      [call('a'), call('b'), result('b', '2'), userSays('hm'), message('assistant', output('x')), result('a', '1')],
      [
        { role: 'assistant', content: null, tool_calls: called('a', 'b') },
        { role: 'tool', tool_call_id: 'a', content: '1' },
        { role: 'tool', tool_call_id: 'b', content: '2' },
        { role: 'user', content: 'hm' },
        { role: 'assistant', content: 'x' },
      ],
    ],
    [
      'the same call id in two turns',
      [call('a'), result('a', 'old'), call('a'), result('a', 'new')],
      [
        { role: 'assistant', content: null, tool_calls: called('a') },
        { role: 'tool', tool_call_id: 'a', content: 'old' },
        { role: 'assistant', content: null, tool_calls: called('a') },
        { role: 'tool', tool_call_id: 'a', content: 'new' },
      ],
    ],
    [
      'images in outputs, behind all outputs',
      [
        call('a'),
        call('b'),
        result('a', [{ type: 'input_text', text: 'see' }, image('auto'), { type: 'input_text', text: 'it' }]),
        result('b', 'text'),
      ],
      [
        { role: 'assistant', content: null, tool_calls: called('a', 'b') },
        { role: 'tool', tool_call_id: 'a', content: 'see\nit' },
        { role: 'tool', tool_call_id: 'b', content: 'text' },
        {
          role: 'user',
          content: [{ type: 'text', text: 'Images from the output of the function call a:' }, asImage()],
        },
      ],
    ],
  ];
  test.each(table)('%s', (_name, items, messages) => {
    expect(body({ items }).messages).toEqual(messages);
  });

  test("instructions come first, in the profile's role", () => {
    const fields = {
      instructions: 'Be brief.',
      items: [message('developer', input('d')), message('system', input('s'))],
    };
    expect(body(fields, 'openai').messages.map(({ role }) => role)).toEqual(['developer', 'developer', 'system']);
    expect(body(fields, 'ollama').messages.map(({ role }) => role)).toEqual(['system', 'system', 'system']);
    expect(body(fields).messages[0]).toEqual({ role: 'system', content: 'Be brief.' });
  });

  test('a refusal has its field at OpenAI', () => {
    const items = [message('assistant', { type: 'refusal', refusal: 'no' })];
    expect(body({ items }, 'openai').messages).toEqual([{ role: 'assistant', content: null, refusal: 'no' }]);
  });
});

describe('fields', () => {
  const full: Partial<ModelCall> = {
    verbosity: 'low',
    reasoningEffort: 'high',
    maxOutputTokens: 99,
    temperature: 0,
    topP: 0.5,
    topLogprobs: 3,
    presencePenalty: 1,
    frequencyPenalty: -1,
    credential: 'secret',
    via: ['here'],
  };
  const sampling = { temperature: 0, top_p: 0.5, presence_penalty: 1, frequency_penalty: -1, reasoning_effort: 'high' };
  const streaming = { stream: true, stream_options: { include_usage: true } };
  const rest = { model: 'test-model', messages: [] };

  test('of a bare call are few', () => {
    expect(body({ streamed: false })).toEqual(rest);
    expect(body({})).toEqual({ ...rest, ...streaming });
  });

  test('are those that the profile knows', () => {
    const logprobs = { logprobs: true, top_logprobs: 3 };
    expect(body(full, 'openai')).toEqual({
      ...rest,
      ...streaming,
      ...sampling,
      ...logprobs,
      verbosity: 'low',
      max_completion_tokens: 99,
    });
    expect(body(full, 'ollama')).toEqual({ ...rest, ...streaming, ...sampling, ...logprobs, max_tokens: 99 });
    expect(body(full)).toEqual({ ...rest, ...streaming, ...sampling, ...logprobs, max_tokens: 99 });
    expect(body({ topLogprobs: 0, streamed: false })).toEqual({ ...rest, logprobs: true });
  });

  test('of the format', () => {
    const schema = { type: 'object' };
    expect(body({ format: { type: 'text' } })['response_format']).toBeUndefined();
    expect(body({ format: { type: 'json_object' } })['response_format']).toEqual({ type: 'json_object' });
    expect(body({ format: { type: 'json_schema', name: 'n', schema, strict: null } })['response_format']).toEqual({
      type: 'json_schema',
      json_schema: { name: 'n', schema },
    });
    expect(
      body({ format: { type: 'json_schema', name: 'n', schema, strict: true, description: 'd' } })['response_format'],
    ).toEqual({ type: 'json_schema', json_schema: { name: 'n', schema, strict: true, description: 'd' } });
  });

  const tools: ModelCall['tools'] = [
    { type: 'function', name: 'f', description: null, parameters: null, strict: null },
    { type: 'function', name: 'g', description: 'd', parameters: { type: 'object' }, strict: false },
  ];
  const sent = [
    { type: 'function', function: { name: 'f' } },
    { type: 'function', function: { name: 'g', description: 'd', parameters: { type: 'object' }, strict: false } },
  ];

  test.each([
    ['auto', 'auto', { tools: sent }],
    ['none', 'none', { tools: sent, tool_choice: 'none' }],
    ['required', 'required', { tools: sent, tool_choice: 'required' }],
    [
      'one',
      { type: 'function', name: 'g' },
      { tools: sent, tool_choice: { type: 'function', function: { name: 'g' } } },
    ],
  ] as const)('of tools, the choice being %s', (_name, toolChoice, expected) => {
    expect(body({ tools, toolChoice, streamed: false })).toEqual({ ...rest, ...expected });
  });

  test('of tools where the choice is not obeyed', () => {
    expect(body({ tools, toolChoice: 'none' }, 'ollama')['tools']).toBeUndefined();
    expect(body({ tools, parallelToolCalls: false }, 'ollama')['parallel_tool_calls']).toBeUndefined();
  });

  test('of parallel calls need tools', () => {
    expect(body({ tools, parallelToolCalls: false })['parallel_tool_calls']).toBe(false);
    expect(body({ parallelToolCalls: false, toolChoice: 'none', streamed: false })).toEqual(rest);
  });
});
