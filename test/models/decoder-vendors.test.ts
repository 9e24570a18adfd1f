import { describe, expect, test } from 'vitest';
import { ApiError } from '../../src/errors.ts';
import type { ModelCall, ModelEvent } from '../../src/model.ts';
import { ChatDecoder } from '../../src/models/chat-completions/decoder.ts';
import { callsOf, modelCall } from '../contracts/model.ts';
import { chunk, completion, usageChunk } from '../support/upstream.ts';
import { fixtureCall } from './fixture-files.ts';
import { profileOf } from './support.ts';

type Setting = { readonly profile?: string; readonly call?: Partial<ModelCall>; readonly whole?: boolean };

/** The events of an answer, without the model's name. */
function said(
  chunks: readonly object[],
  { profile = 'generic', call = {}, whole = false }: Setting = {},
): ModelEvent[] {
  const events: ModelEvent[] = [];
  const decoder = new ChatDecoder(
    {
      provider: 'acme',
      profile: profileOf(profile),
      call: modelCall({ tools: fixtureCall.tools, ...call }),
      reportedError: (error) => new ApiError('upstream_failed', JSON.stringify(error)),
    },
    (event) => events.push(event),
  );
  for (const each of chunks) whole ? decoder.whole(JSON.stringify(each)) : decoder.data(JSON.stringify(each));
  events.push(decoder.close());
  return events.filter((event) => event.type !== 'model' || event.serviceTier !== undefined);
}

const types = (events: readonly ModelEvent[]) => events.map(({ type }) => type);
const stop = chunk({}, 'stop');
const fragment = (call: object) => chunk({ tool_calls: [call] });

describe('the end', () => {
  test.each([
    ['length', 'max_output_tokens'],
    ['model_length', 'max_output_tokens'],
    ['MAX_TOKENS', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
    ['SAFETY', 'content_filter'],
    ['content_filter: RECITATION', 'content_filter'],
    ['refusal', 'content_filter'],
    ['tool_calls', 'stop'],
    ['function_call', 'stop'],
    ['eos', 'stop'],
    ['end_turn', 'stop'],
    ['error', 'error'],
    ['insufficient_system_resource', 'error'],
    ['abort', 'error'],
  ])('%s is %s', (reason, expected) => {
    const events = said([chunk({ content: 'a' }, reason)]);
    expect(events.at(-1)).toMatchObject({ type: 'end', reason: expected });
    expect(types(events).includes('finish')).toBe(expected !== 'error');
  });

  test.each([
    ['in a list', [{ error: { message: 'no' } }]],
    ['bare', { object: 'error', message: 'no', code: 400 }],
    ['a word', { error: 'no' }],
    ["in Groq's own field", { x_groq: { id: 'r', error: 'no' }, choices: [] }],
    [
      'beside a choice',
      { error: { code: 502, message: 'no' }, choices: [{ delta: { content: '' }, finish_reason: 'error' }] },
    ],
  ])('is an error, %s, in the middle', (_name, error) => {
    const events = said([chunk({ content: 'a' }), error]);
    expect(types(events)).toEqual(['text', 'end']);
    expect(events.at(-1)).toMatchObject({ reason: 'error', error: { message: expect.stringContaining('no') } });
  });
});

describe('usage', () => {
  const usageOf = (usage: object | undefined, more: object = {}) => {
    const events = said([chunk({ content: 'a' }), { ...stop, ...(usage !== undefined && { usage }), ...more }]);
    const found = events.find((event) => event.type === 'usage');
    return found?.type === 'usage' ? found.usage : undefined;
  };
  test.each([
    ['DeepSeek', { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12, prompt_cache_hit_tokens: 4 }, 4, 3, 0],
    ['Together', { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12, cached_tokens: 5 }, 5, 3, 0],
    ['SGLang', { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12, reasoning_tokens: 2 }, 0, 3, 2],
    ['Gemini', { prompt_tokens: 9, completion_tokens: 3, total_tokens: 40 }, 0, 31, 28],
    [
      'xAI',
      { prompt_tokens: 9, completion_tokens: 3, total_tokens: 32, completion_tokens_details: { reasoning_tokens: 20 } },
      0,
      23,
      20,
    ],
    [
      'nobody',
      { prompt_tokens: 9, completion_tokens: 3, total_tokens: 2, completion_tokens_details: { reasoning_tokens: 99 } },
      0,
      3,
      3,
    ],
  ])('of %s', (_vendor, usage, cached, output, reasoning) => {
    expect(usageOf(usage)).toEqual({
      input_tokens: 9,
      input_tokens_details: { cached_tokens: cached, cache_write_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: reasoning },
      total_tokens: 9 + output,
    });
  });

  test('is the last that was told, wherever it stands', () => {
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    expect(usageOf(undefined, { x_groq: { usage } })?.total_tokens).toBe(2);
    const inChoice = said([chunk({ content: 'a' }, 'stop', { usage })]).find((event) => event.type === 'usage');
    expect(inChoice).toMatchObject({ usage: { total_tokens: 2 } });
    const growing = [1, 2, 3].map((n) => ({
      ...chunk({ content: 'a' }),
      usage: { ...usage, completion_tokens: n, total_tokens: n + 1 },
    }));
    const events = said([...growing, stop]);
    expect(events.filter((event) => event.type === 'usage')).toEqual([
      expect.objectContaining({ usage: expect.objectContaining({ output_tokens: 3 }) }),
    ]);
    expect(types(events).filter((type) => type === 'text')).toHaveLength(3);
  });
});

describe('the service tier', () => {
  const tiers = (profile: string, ...values: unknown[]) =>
    said([...values.map((tier) => ({ ...chunk({ content: 'a' }), service_tier: tier })), stop], { profile })
      .filter((event) => event.type === 'model')
      .map((event) => event.serviceTier);
  test('is told when it is known, and when it changes', () => {
    expect(tiers('openai', null, 'auto', 'flex', 'flex', 'default')).toEqual(['flex', 'default']);
  });
  test("is told in OpenAI's words, or not at all", () => {
    expect(tiers('groq', 'on_demand', 'performance', 'no-such-tier', 7)).toEqual(['default', 'priority']);
  });
});

describe('what a provider wants to have back', () => {
  const details = (...list: object[]) => chunk({ reasoning_details: list });
  const dataOf = (events: readonly ModelEvent[]) =>
    events.flatMap((event) => (event.type === 'provider_data' ? [event.data] : []));

  test('is a mark behind reasoning that goes back as text, and nothing where it never does', () => {
    const thought = [
      chunk({ reasoning_content: 'a' }),
      chunk({ reasoning_content: 'b' }),
      chunk({ content: 'c' }),
      stop,
    ];
    expect(types(said(thought, { profile: 'sglang' }))).toEqual([
      'reasoning',
      'reasoning',
      'provider_data',
      'text',
      'finish',
      'end',
    ]);
    expect(types(said(thought, { profile: 'xai' }))).toEqual(['reasoning', 'reasoning', 'text', 'finish', 'end']);
    expect(types(said([chunk({ reasoning_content: 'a' }), stop], { profile: 'sglang' }))).toEqual([
      'reasoning',
      'provider_data',
      'finish',
      'end',
    ]);
  });

  test('are details, joined to the entries that they are pieces of', () => {
    const text = (value: string, index: number) => ({ type: 'reasoning.text', text: value, index, format: 'f' });
    const events = said(
      [
        details(text('a', 0)),
        details(text('b', 0), { type: 'reasoning.text', signature: 's', index: 0 }),
        details(text('c', 0)),
        details(text('d', 1), { type: 'reasoning.encrypted', data: 'x', index: 2 }),
        details({ type: 'reasoning.encrypted', data: 'y', index: 2 }, null as unknown as object),
        chunk({ content: 'z' }),
        stop,
      ],
      { profile: 'openrouter' },
    );
    expect(dataOf(events)).toEqual([
      {
        reasoning_details: [
          { type: 'reasoning.text', text: 'ab', index: 0, format: 'f', signature: 's' },
          { type: 'reasoning.text', text: 'c', index: 0, format: 'f' },
          { type: 'reasoning.text', text: 'd', index: 1, format: 'f' },
          { type: 'reasoning.encrypted', data: 'x', index: 2 },
          { type: 'reasoning.encrypted', data: 'y', index: 2 },
        ],
      },
    ]);
    expect(events.filter((event) => event.type === 'reasoning').map(({ delta }) => delta)).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
  });

  test('are the details of a whole answer as they are', () => {
    const list = [1, 2].map((n) => ({ type: 'reasoning.text', text: `t${n}` }));
    const body = completion({ content: 'z', reasoning: 't1t2', reasoning_details: list });
    expect(dataOf(said([body], { profile: 'openrouter', whole: true }))).toEqual([{ reasoning_details: list }]);
  });

  test('is told at the end where it comes behind the answer', () => {
    const late = details({ type: 'reasoning.encrypted', data: 'x' });
    const call = fragment({ index: 0, id: 'a', function: { name: 'get_time', arguments: '{}' } });
    expect(types(said([call, late, stop], { profile: 'openrouter' }))).toEqual([
      'tool_call',
      'tool_arguments',
      'provider_data',
      'finish',
      'end',
    ]);
  });

  test('stands right before the call that it belongs to', () => {
    const signed = (id: string, signature?: string) => ({
      id,
      function: { name: 'get_time', arguments: '{}' },
      ...(signature !== undefined && { extra_content: { google: { thought_signature: signature } } }),
    });
    const chunks = [
      chunk({ content: 'a' }),
      fragment(signed('1', 'x')),
      fragment(signed('2')),
      fragment(signed('3', 'y')),
      stop,
    ];
    const kept = (profile: string) => types(said(chunks, { profile })).filter((type) => type !== 'tool_arguments');
    expect(kept('gemini')).toEqual([
      'text',
      'provider_data',
      'tool_call',
      'tool_call',
      'provider_data',
      'tool_call',
      'finish',
      'end',
    ]);
    expect(kept('generic')).not.toContain('provider_data');
  });
});

describe('citations', () => {
  const annotationsOf = (events: readonly ModelEvent[]) =>
    events.flatMap((event) => (event.type === 'annotation' ? [event.annotation] : []));
  const at = (url: string, place: number, title = url) => {
    return { type: 'url_citation', url, title, start_index: place, end_index: place };
  };

  test('wait for the text that they belong to, and are told once', () => {
    const cited = { type: 'url_citation', url_citation: { url: 'u:1', title: 'T', start_index: 0, end_index: 2 } };
    const events = said([
      chunk({
        annotations: [cited, { type: 'file', file: {} }, 'x', { type: 'url_citation', url_citation: { url: '' } }],
      }),
      { ...chunk({ content: 'ab' }), citations: ['u:2'] },
      { ...chunk({ content: 'c' }), citations: ['u:2', 'u:3', 7], search_results: [{ url: 'u:3', title: 'Three' }] },
      stop,
    ]);
    expect(types(events)).toEqual(['text', 'annotation', 'text', 'annotation', 'annotation', 'finish', 'end']);
    expect(annotationsOf(events)).toEqual([
      { type: 'url_citation', url: 'u:1', title: 'T', start_index: 0, end_index: 2 },
      at('u:2', 3),
      at('u:3', 3, 'Three'),
    ]);
  });

  test('open no text where there is none, or none any more', () => {
    const call = fragment({ index: 0, id: 'a', function: { name: 'get_time', arguments: '{}' } });
    expect(types(said([call, { ...stop, citations: ['u:1'] }]))).not.toContain('annotation');
    expect(types(said([chunk({ content: 'a' }), call, { ...stop, citations: ['u:1'] }]))).not.toContain('annotation');
  });

  test('are as many as a client may send back', () => {
    const citations = Array.from({ length: 5_000 }, (_, n) => `u:${n}`);
    expect(annotationsOf(said([chunk({ content: 'a' }), { ...stop, citations }]))).toHaveLength(1_000);
  });
});

describe('custom tools', () => {
  const wrapped = (args: unknown) =>
    fragment({ index: 0, id: 'a', type: 'function', function: { name: 'patch', arguments: args } });
  test.each([
    ['an object with `input`', '{"input":"a\\nb"}', 'a\nb'],
    ['an object with another string', '{"code":"x"}', 'x'],
    ['a JSON string', '"x"', 'x'],
    ['no JSON', 'x = 1', 'x = 1'],
    ['a real object', { input: 'x' }, 'x'],
  ])('take their input out of %s', (_name, args, input) => {
    const events = said([wrapped(args), stop]);
    expect(events[0]).toMatchObject({ type: 'tool_call', name: 'patch', kind: 'custom' });
    expect(callsOf(events)[0]?.arguments).toBe(input);
    expect(types(events)).toEqual(['tool_call', 'tool_arguments', 'finish', 'end']);
  });

  test('keep what is there of an input that was cut short', () => {
    const events = said([wrapped('{"input":"ab\\ncd'), chunk({}, 'length')]);
    expect(callsOf(events)[0]?.arguments).toBe('ab\ncd');
    expect(events.at(-1)).toEqual({ type: 'end', reason: 'max_output_tokens' });
    expect(callsOf(said([wrapped('{"inp'), chunk({}, 'length')]))[0]?.arguments).toBe('{"inp');
  });

  test('may come in the form of the upstream, though they were offered as functions', () => {
    const native = { index: 0, id: 'a', type: 'custom', custom: { name: 'patch', input: '{"input":"x"}' } };
    expect(callsOf(said([fragment(native), stop]))[0]?.arguments).toBe('{"input":"x"}');
  });
});

describe('calls without ids, all at index 0', () => {
  test('are told apart where the one before is whole', () => {
    const call = (args: string) => fragment({ index: 0, function: { name: 'get_time', arguments: args } });
    expect(callsOf(said([call('{"a":1}'), call('{"b":2}'), stop])).map((each) => each.arguments)).toEqual([
      '{"a":1}',
      '{"b":2}',
    ]);
    expect(callsOf(said([call('{"a"'), call(':1}'), stop])).map((each) => each.arguments)).toEqual(['{"a":1}']);
  });
});

describe('log probabilities of a text in tags', () => {
  const entry = (token: string) => ({ token, logprob: -1, bytes: [], top_logprobs: [] });
  const token = (content: string) => chunk({ content }, null, { logprobs: { content: [entry(content)] } });
  const tokens = (...texts: string[]) =>
    said([...texts.map(token), stop], { call: { topLogprobs: 0 } }).flatMap((event) =>
      event.type === 'text' ? [[event.delta, event.logprobs?.map((each) => each.token)]] : [],
    );
  test('are those of the answer alone', () => {
    expect(tokens('<think>', 'hm', '</think>', '\n\n', 'yes', '!')).toEqual([
      ['yes', ['yes']],
      ['!', ['!']],
    ]);
  });
  test('are not lost where the text only looked like a tag', () => {
    expect(tokens('<', 'b', '>')).toEqual([
      ['<b', ['<', 'b']],
      ['>', ['>']],
    ]);
    expect(tokens('<')).toEqual([['<', ['<']]]);
  });
});

test('what comes after the finish reason is usage, and what was late', () => {
  const events = said([chunk({ content: 'a' }, 'stop'), { ...usageChunk, citations: ['u:1'] }]);
  expect(types(events)).toEqual(['text', 'finish', 'annotation', 'usage', 'end']);
});
