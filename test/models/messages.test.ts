import { describe, expect, test } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import type { ModelCall, ProviderData } from '../../src/model.ts';
import { toCallId } from '../../src/models/chat-completions/call-ids.ts';
import { toChatRequest } from '../../src/models/chat-completions/request.ts';
import type { Profile } from '../../src/models/profiles.ts';
import { modelCall, userSays } from '../contracts/model.ts';
import { profileOf } from './support.ts';

const thought = (id: string, text = id): Item => {
  return { id, type: 'reasoning', summary: text === '' ? [] : [{ type: 'summary_text', text }] };
};
const assistant = (text: string): Item => {
  const content = text === '' ? [] : ([{ type: 'output_text', text, annotations: [], logprobs: [] }] as const);
  return { id: 'msg_a', type: 'message', status: 'completed', role: 'assistant', content };
};
const call = (id: string): Item => {
  return { id: `fc_${id}`, type: 'function_call', status: 'completed', call_id: id, name: 'f', arguments: '{}' };
};
const result = (id: string): Item => {
  return { id: `fco_${id}`, type: 'function_call_output', status: 'completed', call_id: id, output: 'ok' };
};
const own: ProviderData = {};

type Given = Readonly<Record<string, readonly ProviderData[]>>;

function messages(
  profile: string | Profile,
  items: readonly Item[],
  given: Given,
  more: Partial<ModelCall> = {},
  // biome-ignore lint/suspicious/noExplicitAny: vendors' messages have many shapes.
): any[] {
  const fields = modelCall({ items, providerData: new Map(Object.entries(given)), ...more });
  const request = toChatRequest(fields, typeof profile === 'string' ? profileOf(profile) : profile);
  return JSON.parse(JSON.stringify(request.messages));
}

describe('reasoning goes back', () => {
  const turns = [
    userSays('1'),
    thought('rs_1'),
    assistant('one'),
    userSays('2'),
    thought('rs_2'),
    call('a'),
    result('a'),
    thought('rs_3'),
    call('b'),
    result('b'),
  ];
  const given = { rs_1: [own], rs_2: [own], rs_3: [own] };
  const sent = (profile: string, field: string) =>
    messages(profile, turns, given)
      .filter(({ role }) => role === 'assistant')
      .map((message) => message[field]);

  test('never, within a tool loop, or always', () => {
    expect(sent('xai', 'reasoning_content')).toEqual([undefined, undefined, undefined]);
    expect(sent('groq', 'reasoning')).toEqual([undefined, 'rs_2', 'rs_3']);
    expect(sent('sglang', 'reasoning_content')).toEqual(['rs_1', 'rs_2', 'rs_3']);
  });

  test('only to the provider that said it', () => {
    const [first] = messages('sglang', [thought('rs_1'), assistant('one')], {});
    expect(first).toEqual({ role: 'assistant', content: 'one' });
  });

  test('from its own text, else from its summaries', () => {
    const item: Item = {
      id: 'rs_1',
      type: 'reasoning',
      summary: [{ type: 'summary_text', text: 'short' }],
      content: [
        { type: 'reasoning_text', text: 'a' },
        { type: 'reasoning_text', text: 'b' },
      ],
    };
    expect(messages('vllm', [item, assistant('one')], { rs_1: [own] })[0].reasoning).toBe('a\nb');
  });

  test('with the message that it belongs to, and not past somebody else', () => {
    const items = [thought('rs_1'), userSays('1'), assistant('one'), thought('rs_2'), userSays('2'), assistant('two')];
    expect(messages('vllm', items, { rs_1: [own], rs_2: [own] })).toEqual([
      { role: 'user', content: '1' },
      { role: 'assistant', content: 'one', reasoning: 'rs_2' },
      { role: 'user', content: '2' },
      { role: 'assistant', content: 'two' },
    ]);
  });

  test('past an empty message', () => {
    expect(
      messages('vllm', [thought('rs_1'), assistant(''), call('a'), result('a')], { rs_1: [own] })[0],
    ).toMatchObject({ content: null, reasoning: 'rs_1', tool_calls: [{ id: 'a' }] });
  });

  test('as parts of the content, where they were said', () => {
    const items = [thought('rs_1'), assistant('one'), thought('rs_2'), call('a'), result('a')];
    const part = (text: string) => ({ type: 'thinking', thinking: [{ type: 'text', text }] });
    const [message] = messages('mistral', items, { rs_1: [own], rs_2: [own] });
    expect(message.content).toEqual([part('rs_1'), { type: 'text', text: 'one' }, part('rs_2')]);
    const [bare] = messages('mistral', [thought('rs_1'), call('a'), result('a')], { rs_1: [own] });
    expect(bare.content).toEqual([part('rs_1')]);
  });

  test('as details, unchanged and in order, also those that came late', () => {
    const details = (...ids: string[]) => [
      { reasoning_details: ids.map((data) => ({ type: 'reasoning.encrypted', data })) },
    ];
    const items = [
      thought('rs_1'),
      call('a'),
      thought('rs_2', ''),
      call('b'),
      thought('rs_3', ''),
      result('a'),
      result('b'),
    ];
    const all = messages('openrouter', items, { rs_1: details('1', '2'), rs_2: details('3'), rs_3: details('4') });
    expect(all.map(({ role }) => role)).toEqual(['assistant', 'tool', 'tool']);
    expect(all[0].reasoning_details.map(({ data }: { data: string }) => data)).toEqual(['1', '2', '3', '4']);
    expect(all[0].reasoning).toBeUndefined();
    // Where there were no details, as text.
    expect(messages('openrouter', [thought('rs_1'), assistant('one')], { rs_1: [own] })[0].reasoning).toBe('rs_1');
  });

  test('empty with calls, where a vendor refuses them without', () => {
    expect(messages('deepseek', [call('a'), result('a')], {})[0].reasoning_content).toBe('');
    expect(messages('deepseek', [assistant('one')], {})[0]).toEqual({ role: 'assistant', content: 'one' });
  });
});

describe('data of calls', () => {
  const signed = (signature: string) => [{ extra_content: { google: { thought_signature: signature } } }];
  const signatures = (items: readonly Item[], given: Given, profile = 'gemini') =>
    messages(profile, items, given).flatMap(({ tool_calls: calls = [] }) =>
      calls.map(
        (each: { extra_content?: { google: { thought_signature: string } } }) =>
          each.extra_content?.google.thought_signature,
      ),
    );
  const lost = 'skip_thought_signature_validator';

  test('goes with the call right behind it', () => {
    const items = [
      thought('rs_1'),
      call('a'),
      call('b'),
      thought('rs_2', ''),
      call('c'),
      result('a'),
      result('b'),
      result('c'),
    ];
    expect(signatures(items, { rs_1: [own, ...signed('x')], rs_2: signed('y') })).toEqual(['x', undefined, 'y']);
  });
  test('is replaced on the first call of a message where it is lost', () => {
    const items = [
      call('a'),
      call('b'),
      result('a'),
      result('b'),
      thought('rs_1'),
      call('c'),
      result('c'),
      call('d'),
      result('d'),
    ];
    expect(signatures(items, { rs_1: signed('x') })).toEqual([lost, undefined, 'x', lost]);
    expect(signatures(items, { rs_1: [own] })).toEqual([lost, undefined, lost, lost]);
  });
  test('is nothing to other vendors', () => {
    expect(signatures([thought('rs_1'), call('a'), result('a')], { rs_1: signed('x') }, 'generic')).toEqual([
      undefined,
    ]);
  });
});

describe('system messages', () => {
  const system = (text: string, role: 'system' | 'developer' = 'system'): Item => {
    return { id: 'msg_s', type: 'message', status: 'completed', role, content: [{ type: 'input_text', text }] };
  };
  const items = [system('a'), userSays('1'), system('b', 'developer'), userSays('2')];

  test('lead the conversation, joined, where a vendor takes them nowhere else', () => {
    expect(messages('vllm', items, {}, { instructions: 'i' })).toEqual([
      { role: 'system', content: 'i\n\na\n\nb' },
      { role: 'user', content: '1' },
      { role: 'user', content: '2' },
    ]);
    expect(messages('vllm', [userSays('1')], {})).toEqual([{ role: 'user', content: '1' }]);
    expect(messages('openai', items, {}).map(({ role }) => role)).toEqual(['system', 'user', 'developer', 'user']);
  });

  test('leave what is no text where it was', () => {
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AA', detail: 'auto' } as const;
    const item: Item = { id: 'm', type: 'message', status: 'completed', role: 'system', content: [image] };
    expect(messages('vllm', [userSays('1'), item], {}).map(({ role }) => role)).toEqual(['system', 'user', 'user']);
  });
});

describe('files', () => {
  const file = (part: object): Item =>
    ({
      id: 'm',
      type: 'message',
      status: 'completed',
      role: 'user',
      content: [{ type: 'input_file', ...part }],
    }) as Item;
  const sent = (profile: string, part: object) => messages(profile, [file(part)], {})[0].content[0];

  test.each([
    ['openai', { file_data: 'AAAA' }, { filename: 'document.pdf', file_data: 'data:application/pdf;base64,AAAA' }],
    ['openai', { file_data: 'AAAA', filename: 'A.CSV' }, { filename: 'A.CSV', file_data: 'data:text/csv;base64,AAAA' }],
    [
      'openai',
      { file_data: 'data:text/x;base64,AA', filename: 'a' },
      { filename: 'a', file_data: 'data:text/x;base64,AA' },
    ],
    [
      'openrouter',
      { file_url: 'https://x.test/b/c.pdf?d' },
      { filename: 'c.pdf', file_data: 'https://x.test/b/c.pdf?d' },
    ],
  ])('go to %s: %j', (profile, part, expected) => {
    expect(sent(profile, part)).toEqual({ type: 'file', file: expected });
  });

  test('go to Mistral in its own form, and behind the outputs that hold them', () => {
    const url = 'https://x.test/';
    expect(sent('mistral', { file_url: url })).toEqual({
      type: 'document_url',
      document_url: url,
      document_name: 'document.pdf',
    });
    const output: Item = {
      ...(result('a') as Extract<Item, { type: 'function_call_output' }>),
      output: [{ type: 'input_file', file_url: url } as const],
    };
    const [, tool, user] = messages('openai', [call('a'), output], {});
    expect(tool.content).toBe('');
    expect(user.content.map(({ type }: { type: string }) => type)).toEqual(['text', 'file']);
    expect(user.content[0].text).toContain('Files from the output');
  });
});

test('ids of calls that a vendor does not take become others, always the same', () => {
  const { callIds: mistral } = profileOf('mistral');
  const { callIds: openai } = profileOf('openai');
  expect(toCallId('abcDEF123', mistral)).toBe('abcDEF123');
  expect(toCallId('call_1', mistral)).toMatch(/^[0-9a-z]{9}$/);
  expect(toCallId('call_1', mistral)).toBe(toCallId('call_1', mistral));
  expect(toCallId('call_1', mistral)).not.toBe(toCallId('call_2', mistral));
  expect(toCallId('x'.repeat(40), openai)).toHaveLength(40);
  expect(toCallId('x'.repeat(41), openai)).toMatch(/^[0-9a-z]{32}$/);
  expect(toCallId('anything goes', undefined)).toBe('anything goes');
});
