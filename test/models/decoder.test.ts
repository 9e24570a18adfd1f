import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ApiError } from '../../src/errors.ts';
import type { ModelEvent } from '../../src/model.ts';
import { ChatDecoder } from '../../src/models/chat-completions/decoder.ts';
import type { Profile } from '../../src/models/profiles.ts';
import { callsOf, modelCall } from '../contracts/model.ts';
import { chunk, completion, textChunks, usage, usageChunk } from '../support/upstream.ts';
import { profileOf } from './support.ts';

/** `finish` is left out of what is collected: it has a test of its own. */
function decoder(logprobs = false, profile = profileOf('generic')) {
  const events: ModelEvent[] = [];
  const finishes: number[] = [];
  const settings = {
    provider: 'acme',
    profile,
    call: modelCall({ topLogprobs: logprobs ? 0 : undefined }),
    reportedError: (error: unknown) => new ApiError('upstream_failed', JSON.stringify(error)),
  };
  const collect = (event: ModelEvent) => {
    if (event.type === 'finish') finishes.push(events.length);
    else events.push(event);
  };
  return { events, finishes, decoder: new ChatDecoder(settings, collect) };
}

/** The events of a stream of these chunks, `model` left out. */
function stream(chunks: readonly object[], logprobs = false): ModelEvent[] {
  const { events, decoder: target } = decoder(logprobs);
  for (const one of chunks) target.data(JSON.stringify(one));
  events.push(target.close());
  return events.filter(({ type }) => type !== 'model');
}

function whole(body: object, logprobs = false): ModelEvent[] {
  const { events, decoder: target } = decoder(logprobs);
  target.whole(JSON.stringify(body));
  events.push(target.close());
  return events.filter(({ type }) => type !== 'model');
}

const stop = chunk({}, 'stop');
const stopped: ModelEvent = { type: 'end', reason: 'stop' };
const fragment = (call: object) => chunk({ tool_calls: [call] });
const f = (name: string | undefined, args?: unknown) => ({ function: { name, arguments: args } });

describe('text, refusals and thoughts', () => {
  test.each([
    [
      'a text',
      [chunk({ role: 'assistant', content: '' }), chunk({ content: 'a' }), stop],
      [{ type: 'text', delta: 'a' }],
    ],
    ['null', [chunk({ content: null, refusal: null, tool_calls: null }), stop], []],
    ['text in the last chunk', [chunk({ content: 'a' }, 'stop')], [{ type: 'text', delta: 'a' }]],
    ['a refusal', [chunk({ refusal: 'no' }), stop], [{ type: 'refusal', delta: 'no' }]],
    ['reasoning_content', [chunk({ reasoning_content: 'hm' }), stop], [{ type: 'reasoning', delta: 'hm' }]],
    ['reasoning', [chunk({ reasoning: 'hm', reasoning_content: '' }), stop], [{ type: 'reasoning', delta: 'hm' }]],
    ['both', [chunk({ reasoning: 'hm', reasoning_content: 'hm' }), stop], [{ type: 'reasoning', delta: 'hm' }]],
    [
      'thoughts before their text',
      [chunk({ reasoning: 'hm', content: 'a' }), stop],
      [
        { type: 'reasoning', delta: 'hm' },
        { type: 'text', delta: 'a' },
      ],
    ],
    [
      'content in parts',
      [
        chunk({ content: [{ type: 'thinking', thinking: [] }, { type: 'text', text: 'a' }, { text: 'b' }, null] }),
        stop,
      ],
      [{ type: 'text', delta: 'ab' }],
    ],
    [
      'a whole message in a chunk',
      [chunk({}, 'stop', { delta: undefined, message: { content: 'a' } })],
      [{ type: 'text', delta: 'a' }],
    ],
    ['no text at all', [chunk({ content: '' }), stop], []],
  ] as [string, object[], ModelEvent[]][])('%s', (_name, chunks, events) => {
    expect(stream(chunks)).toEqual([...events, stopped]);
  });

  test('only of the first choice', () => {
    const two = {
      choices: [
        { index: 0, delta: { content: 'a' } },
        { index: 1, delta: { content: 'b' } },
      ],
    };
    expect(stream([two, stop])).toEqual([{ type: 'text', delta: 'a' }, stopped]);
  });
});

describe("the model's name", () => {
  test('is told once, as soon as it is known', () => {
    const { events, decoder: target } = decoder();
    for (const data of [{ choices: [], model: '' }, ...textChunks('a b')]) target.data(JSON.stringify(data));
    expect(events.map(({ type }) => type)).toEqual(['model', 'text', 'text']);
    expect(events[0]).toEqual({ type: 'model', name: 'test-model-1' });
  });
});

describe('usage', () => {
  const full = {
    input_tokens: 11,
    input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 },
    output_tokens: 7,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 18,
  };
  test('comes last, once, whatever the chunk', () => {
    const chunks = [{ ...chunk({ content: 'a' }), usage: { prompt_tokens: 1 } }, { ...stop, usage: null }, usageChunk];
    expect(stream(chunks).slice(1)).toEqual([{ type: 'usage', usage: full }, stopped]);
    expect(stream([chunk({ content: 'a' }), { ...stop, usage }]).slice(1)).toEqual([
      { type: 'usage', usage: full },
      stopped,
    ]);
  });
  test('is complete and sane, whatever was reported', () => {
    const bad = { prompt_tokens: 4, completion_tokens: '7', total_tokens: null, prompt_tokens_details: null };
    expect(stream([{ ...stop, usage: bad }])[0]).toMatchObject({
      usage: {
        input_tokens: 4,
        input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
        output_tokens: 0,
        total_tokens: 4,
      },
    });
  });
});

describe('log probabilities', () => {
  const entry = { token: 'a', logprob: -0.5, bytes: [97], top_logprobs: [{ token: 'a', logprob: -0.5, bytes: null }] };
  const filled = { ...entry, top_logprobs: [{ token: 'a', logprob: -0.5, bytes: [] }] };
  const bare = { token: 'b', logprob: -1 };
  const said = chunk({ content: 'ab' }, null, { logprobs: { content: [entry, bare], refusal: null } });

  test('are full entries where asked for', () => {
    const logprobs = [filled, { ...bare, bytes: [], top_logprobs: [] }];
    expect(stream([said, stop], true)).toEqual([{ type: 'text', delta: 'ab', logprobs }, stopped]);
    const body = completion({ content: 'ab' }, 'stop', { logprobs: { content: [entry, bare] } });
    expect(whole(body, true)[0]).toEqual({ type: 'text', delta: 'ab', logprobs });
  });
  test('are left out where not', () => {
    expect(stream([said, stop])[0]).toEqual({ type: 'text', delta: 'ab' });
  });
  test('of half a character come without text', () => {
    const half = chunk({ content: '' }, null, { logprobs: { content: [bare] } });
    expect(stream([half, chunk({ content: '' }), stop], true).map(({ type }) => type)).toEqual(['text', 'end']);
  });
});

describe('calls', () => {
  type Made = { id: string | undefined; name: string; arguments: string };
  const one: Made = { id: 'a', name: 'f', arguments: '{"x":1}' };
  const two: Made = { id: 'b', name: 'g', arguments: '{"y":2}' };
  const table: [string, object[], Made[]][] = [
    [
      'in fragments',
      [
        fragment({ index: 0, id: 'a', ...f('f', '') }),
        fragment({ index: 0, ...f(undefined, '{"x"') }),
        fragment({ index: 0, ...f(undefined, ':1}') }),
      ],
      [one],
    ],
    ['whole', [fragment({ index: 0, id: 'a', ...f('f', '{"x":1}') })], [one]],
    ['with arguments as an object', [fragment({ index: 0, id: 'a', ...f('f', { x: 1 }) })], [one]],
    [
      'id and name in every fragment',
      [fragment({ index: 0, id: 'a', ...f('f', '{"x"') }), fragment({ index: 0, id: 'a', ...f('f', ':1}') })],
      [one],
    ],
    [
      'an id made up for each fragment',
      [fragment({ index: 0, id: 'a', ...f('f', '{"x"') }), fragment({ index: 0, id: 'z', ...f(undefined, ':1}') })],
      [one],
    ],
    [
      'empty strings for what is known',
      [fragment({ index: 0, id: 'a', ...f('f', '{"x"') }), fragment({ index: 0, id: '', ...f('', ':1}') })],
      [one],
    ],
    [
      'the name after the arguments',
      [fragment({ index: 0, id: 'a', ...f(undefined, '{"x"') }), fragment({ index: 0, ...f('f', ':1}') })],
      [one],
    ],
    ['no id', [fragment({ index: 0, ...f('f', '{"x":1}') })], [{ ...one, id: undefined }]],
    ['no arguments', [fragment({ index: 0, id: 'a', ...f('f') })], [{ ...one, arguments: '{}' }]],
    ['empty arguments', [fragment({ index: 0, id: 'a', ...f('f', '') })], [{ ...one, arguments: '{}' }]],
    [
      'interleaved',
      [
        fragment({ index: 0, id: 'a', ...f('f', '{"x"') }),
        fragment({ index: 1, id: 'b', ...f('g', '{"y"') }),
        fragment({ index: 0, ...f(undefined, ':1}') }),
        fragment({ index: 1, ...f(undefined, ':2}') }),
      ],
      [one, two],
    ],
    [
      'two in a chunk',
      [
        chunk({
          tool_calls: [
            { index: 0, id: 'a', ...f('f', '{"x":1}') },
            { index: 1, id: 'b', ...f('g', '{"y":2}') },
          ],
        }),
      ],
      [one, two],
    ],
    [
      'no index, an id in every fragment',
      [
        fragment({ id: 'a', ...f('f', '{"x"') }),
        fragment({ id: 'b', ...f('g', '{"y"') }),
        fragment({ id: 'a', ...f(undefined, ':1}') }),
        fragment({ id: 'b', ...f(undefined, ':2}') }),
      ],
      [one, two],
    ],
    [
      'no index, no further id',
      [
        fragment({ id: 'a', ...f('f', '{"x"') }),
        fragment(f(undefined, ':1}')),
        fragment({ id: 'b', ...f('g', '{"y":2}') }),
      ],
      [one, two],
    ],
    [
      'no index, no id',
      [fragment(f('f', '{"x":1}')), fragment(f('f', '{"y":2}'))],
      [
        { ...one, id: undefined },
        { ...two, id: undefined, name: 'f' },
      ],
    ],
    [
      'index 0 for all',
      [fragment({ index: 0, id: 'a', ...f('f', '{"x":1}') }), fragment({ index: 0, id: 'b', ...f('g', '{"y":2}') })],
      [one, two],
    ],
    ['an index that begins late', [fragment({ index: 3, id: 'a', ...f('f', '{"x":1}') })], [one]],
    [
      'the form before tool_calls',
      [chunk({ function_call: { name: 'f', arguments: '{"x"' } }), chunk({ function_call: { arguments: ':1}' } })],
      [{ ...one, id: undefined }],
    ],
  ];
  test.each(table)('%s', (_name, chunks, calls) => {
    const events = stream([...chunks, chunk({}, 'tool_calls')]);
    expect(callsOf(events)).toEqual(calls);
    expect(events.at(-1)).toEqual(stopped);
    expect(events.filter(({ type }) => type === 'tool_call')).toHaveLength(calls.length);
  });

  test('of a whole answer are all different, even with equal ids', () => {
    const body = completion({
      content: null,
      tool_calls: [
        { id: 'a', ...f('f', '{"x":1}') },
        { id: 'a', ...f('g', '') },
      ],
    });
    expect(callsOf(whole(body))).toEqual([one, { id: 'a', name: 'g', arguments: '{}' }]);
  });

  test('that were cut short are left as they are', () => {
    const cut = [
      fragment({ index: 0, id: 'a', ...f('f', '{"x"') }),
      fragment({ index: 1, id: 'b', ...f('g', '') }),
      chunk({}, 'length'),
    ];
    const events = stream(cut);
    expect(callsOf(events).map((call) => call.arguments)).toEqual(['{"x"', '']);
    expect(events.at(-1)).toEqual({ type: 'end', reason: 'max_output_tokens' });
  });
});

describe('the end', () => {
  test.each([
    ['stop', 'stop'],
    ['tool_calls', 'stop'],
    ['function_call', 'stop'],
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
    ['eos_token', 'stop'],
  ])('%s is %s', (reason, expected) => {
    expect(stream([chunk({ content: 'a' }, reason)]).at(-1)).toEqual({ type: 'end', reason: expected });
    expect(whole(completion({ content: 'a' }, reason)).at(-1)).toEqual({ type: 'end', reason: expected });
  });

  test('with [DONE] alone is one, without either is none', () => {
    const { decoder: done } = decoder();
    done.data(JSON.stringify(chunk({ content: 'a' })));
    done.data(' [DONE] ');
    expect([done.settled, done.close()]).toEqual([true, stopped]);
    expect(stream([chunk({ content: 'a' }, '')]).at(-1)).toMatchObject({ reason: 'error' });
  });

  test('may lack its closing line, but must be whole', () => {
    const { decoder: target, events } = decoder();
    target.data(JSON.stringify(chunk({ content: 'a' })));
    target.unclosed(JSON.stringify(chunk({ content: 'b' }, 'stop')));
    expect(target.close()).toEqual(stopped);
    expect(events).toHaveLength(3);
    const { decoder: broken } = decoder();
    broken.data(JSON.stringify(chunk({ content: 'a' })));
    broken.unclosed('{"choices":[{"finish_reason":"stop"');
    expect(broken.close()).toMatchObject({ reason: 'error', error: { kind: 'upstream_failed' } });
  });

  test('silences what comes after it, and so does stop()', () => {
    const { decoder: target, events } = decoder();
    target.data('[DONE]');
    target.data(JSON.stringify(chunk({ content: 'a' })));
    const { decoder: other, events: none } = decoder();
    other.stop();
    other.data(JSON.stringify(chunk({ content: 'a' })));
    other.whole(JSON.stringify(completion({ content: 'a' })));
    expect([...events, ...none]).toEqual([]);
  });
});

describe('chunks that differ in their text only', () => {
  const generic = profileOf('generic');
  /** Where tags may lead the text, what a chunk says depends on those before it. */
  const tagless: Profile = { ...generic, reasoning: { ...generic.reasoning, tags: [] } };
  /** One decoder per chunk learns nothing from the chunks before. */
  function eachAlone(chunks: readonly string[]): ModelEvent[] {
    return chunks.flatMap((text) => {
      const { decoder: target, events } = decoder(false, tagless);
      target.data(JSON.stringify({ model: 'm', choices: [] }));
      target.data(text);
      return events.slice(1);
    });
  }
  function together(chunks: readonly string[], profile = tagless): ModelEvent[] {
    const { decoder: target, events } = decoder(false, profile);
    target.data(JSON.stringify({ model: 'm', choices: [] }));
    for (const text of chunks) target.data(text);
    return events.slice(1);
  }

  test('say the same as if each were parsed', () => {
    const content = fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom('a', 'b ', '"content":"a"', '\\', '"', 'é\n', '', 'x"}'),
    );
    const extra = fc.constantFrom(
      {},
      { role: 'assistant' },
      { refusal: null },
      { refusal: 'no' },
      { reasoning: 'hm' },
      { content: 'twice' },
      { note: '"content":"a"' },
    );
    const frame = fc.constantFrom(
      {},
      { obfuscation: 'q' },
      { usage: null },
      { usage: { prompt_tokens: 1 } },
      { content: 'a' },
    );
    const one = fc
      .tuple(content, extra, extra, frame, frame)
      .map(([text, before, after, first, last]) =>
        JSON.stringify({ ...first, ...chunk({ ...before, content: text, ...after }), ...last }),
      );
    const plain = content.map((text) => JSON.stringify(chunk({ content: text })));
    // Raw control characters and broken ends, as no serializer writes them.
    const odd = fc.constantFrom(
      '{"choices":[{"delta":{"content":"a"}}]}',
      '{"choices":[{"delta":{"content":"b","content":"c"}}]}',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(one, plain, plain, odd), { maxLength: 20 }), (chunks) => {
        expect(together(chunks)).toEqual(eachAlone(chunks));
      }),
      { numRuns: 2_000 },
    );
  });

  test('say the same in tags as if each were parsed', () => {
    const piece = fc.constantFrom('<think>', '</think>', '<th', 'ink>', '</', 'think>', 'a', ' ', '\n', '<');
    const frame = (text: string, padding = '') => JSON.stringify({ ...chunk({ content: text }), padding });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (texts) => {
        const fast = together(
          texts.map((text) => frame(text)),
          generic,
        );
        // No two of these are alike, so that each is parsed.
        const slow = together(
          texts.map((text, at) => frame(text, `p${at}`)),
          generic,
        );
        expect(fast).toEqual(slow);
      }),
      { numRuns: 500 },
    );
  });

  test.each(['"', 'a\nb', 'x\\', '"},"finish_reason":"stop","delta":{"content":"b'])(
    'are parsed where the text is %j',
    (raw) => {
      const frame = (text: string) => `{"model":"m","choices":[{"index":0,"delta":{"content":"${text}"}}]}`;
      const chunks = ['one', 'two', raw, 'three'].map(frame);
      const { decoder: target, events } = decoder();
      for (const text of chunks) target.data(text);
      const parsed = chunks.map((text) => {
        try {
          return JSON.parse(text).choices[0].delta.content;
        } catch {
          return undefined;
        }
      });
      const until = parsed.includes(undefined) ? parsed.indexOf(undefined) : parsed.length;
      expect(events.slice(1).map((event) => 'delta' in event && event.delta)).toEqual(parsed.slice(0, until));
      expect(target.settled).toBe(until < parsed.length);
    },
  );
});

test('the finish reason is told once, when it comes, before the usage', () => {
  const { decoder: target, finishes, events } = decoder();
  for (const one of [chunk({ content: 'a' }), chunk({}, 'stop'), chunk({}, 'stop'), usageChunk]) {
    target.data(JSON.stringify(one));
  }
  target.close();
  expect(events.map((event) => event.type)).toEqual(['model', 'text', 'usage']);
  expect(finishes).toEqual([2]);
});

describe('an upstream that means no good', () => {
  const failure = (events: readonly ModelEvent[]) => {
    const end = events.at(-1);
    return end?.type === 'end' && end.reason === 'error' ? end.error.message : undefined;
  };

  test.each([
    ['with indices', (at: number) => ({ index: at, id: `call_${at}`, ...f('f', '{}') })],
    ['without', (at: number) => ({ id: `call_${at}`, ...f('f', '{}') })],
  ])('calls more functions than anybody means to (%s)', (_name, call) => {
    const calls = Array.from({ length: 5_000 }, (_, at) => call(at));
    for (const events of [stream([chunk({ tool_calls: calls })]), whole(completion({ tool_calls: calls }))]) {
      expect(failure(events)).toContain('more than 1000 functions');
      expect(events.filter((event) => event.type === 'tool_call')).toHaveLength(1_000);
    }
  });

  test.each([5, true, { text: 'x' }])('sends content that is no text: %j', (content) => {
    expect(failure(stream([chunk({ content })]))).toContain('content that is no text');
    expect(failure(whole(completion({ content })))).toContain('content that is no text');
  });
});
