import { describe, expect, test } from 'vitest';
import type { ModelEvent, ModelTool } from '../../src/model.ts';
import {
  customCall,
  functionCall,
  hosted,
  message,
  reasoning,
  refusal,
  responseEvents,
  responsesSse,
  responsesUsage,
  type Said,
  wholeResponse,
} from '../support/responses-upstream.ts';
import { type Decoding, decodeBytes, decodeEvents, decodeWhole, failureOf } from './responses-decoding.ts';
import { joined } from './responses-support.ts';

const opening: ModelEvent[] = [{ type: 'model', name: 'test-model-1' }];
const closing: ModelEvent[] = [
  { type: 'model', serviceTier: 'default' },
  { type: 'usage', usage: responsesUsage },
  { type: 'end', reason: 'stop' },
];
const says = (delta: string): ModelEvent => ({ type: 'text', delta });
const spokenEnd: ModelEvent = { type: 'spoken_end' };

const citation = { type: 'url_citation', url: 'https://example.com/a', title: 'A', start_index: 0, end_index: 5 };
const custom = (name: string, namespace?: string): ModelTool => {
  const group = namespace === undefined ? {} : { namespace: { name: namespace, description: 'A group.' } };
  return { type: 'custom', name, ...group };
};
const flat: Decoding = {
  tools: [custom('sql', 'db'), custom('note')],
  kinds: { namespaces: false, customTools: false },
};

type Case = { readonly said: readonly Said[]; readonly expected: readonly ModelEvent[]; readonly decoding?: Decoding };

const cases: Record<string, Case> = {
  'a text': {
    said: [message('Grüezi 👋 "you" \\ all')],
    expected: [says('Grüezi 👋 "you" \\ all'), spokenEnd],
  },
  'no output': { said: [], expected: [] },
  'several messages with their phases': {
    said: [
      message('I look. ', { id: 'msg_a', phase: 'commentary' }),
      message('Found. ', { id: 'msg_b', phase: 'final_answer' }),
    ],
    expected: [
      says('I look. '),
      { type: 'spoken_end', phase: 'commentary' },
      says('Found. '),
      { type: 'spoken_end', phase: 'final_answer' },
    ],
  },
  'a refusal': {
    said: [refusal('I would rather not.')],
    expected: [{ type: 'refusal', delta: 'I would rather not.' }, spokenEnd],
  },
  annotations: {
    said: [message('Hello there', { annotations: [citation, { ...citation, url: 'https://example.com/b' }] })],
    expected: [
      says('Hello there'),
      { type: 'annotation', annotation: citation },
      { type: 'annotation', annotation: { ...citation, url: 'https://example.com/b' } },
      spokenEnd,
    ],
  },
  'summaries of reasoning, encrypted': {
    said: [reasoning({ summary: ['First this.', 'Then that.'], encrypted: 'gAAA' }), message('Done.')],
    expected: [
      { type: 'reasoning', delta: 'First this.', summary: { part: 0 } },
      { type: 'reasoning', delta: 'Then that.', summary: { part: 1 } },
      { type: 'spoken_end', encryptedContent: 'gAAA' },
      says('Done.'),
      spokenEnd,
    ],
  },
  'reasoning of which only the encrypted form is told': {
    said: [reasoning({ encrypted: 'gAAA' }), reasoning({ id: 'rs_up_2', encrypted: 'gBBB' }), message('Done.')],
    expected: [
      { type: 'spoken_end', encryptedContent: 'gAAA' },
      { type: 'spoken_end', encryptedContent: 'gBBB' },
      says('Done.'),
      spokenEnd,
    ],
  },
  'reasoning of which nothing is told': {
    said: [reasoning({}), message('Done.')],
    expected: [says('Done.'), spokenEnd],
  },
  'the raw text of reasoning': {
    said: [reasoning({ text: 'Let me think.' }), message('Done.')],
    expected: [{ type: 'reasoning', delta: 'Let me think.' }, spokenEnd, says('Done.'), spokenEnd],
  },
  'the raw text of reasoning, by an upstream that takes it back': {
    said: [reasoning({ text: 'Let me think.' }), message('Done.')],
    decoding: { marksReasoning: true },
    expected: [
      { type: 'reasoning', delta: 'Let me think.' },
      { type: 'provider_data', data: {} },
      spokenEnd,
      says('Done.'),
      spokenEnd,
    ],
  },
  'parallel calls': {
    said: [
      functionCall({ id: 'call_a', name: 'get_weather', arguments: '{"city":"Bern"}' }),
      functionCall({ id: 'call_b', name: 'lookup', arguments: '{}', namespace: 'crm' }),
    ],
    expected: [
      { type: 'tool_call', index: 0, callId: 'call_a', name: 'get_weather' },
      { type: 'tool_arguments', index: 0, delta: '{"city":"Bern"}' },
      { type: 'tool_call', index: 1, callId: 'call_b', name: 'lookup', namespace: 'crm' },
      { type: 'tool_arguments', index: 1, delta: '{}' },
    ],
  },
  'calls without arguments': {
    said: [functionCall({ id: 'call_a', name: 'now', arguments: '' })],
    expected: [
      { type: 'tool_call', index: 0, callId: 'call_a', name: 'now' },
      // The end of the answer fills them in.
      { type: 'model', serviceTier: 'default' },
      { type: 'tool_arguments', index: 0, delta: '{}' },
    ],
  },
  'custom calls': {
    said: [customCall({ id: 'call_a', name: 'sql', input: 'select "1"', namespace: 'db' })],
    expected: [
      { type: 'tool_call', index: 0, callId: 'call_a', name: 'sql', namespace: 'db', kind: 'custom' },
      { type: 'tool_arguments', index: 0, delta: 'select "1"' },
    ],
  },
  'functions that stand for custom tools': {
    said: [
      functionCall({ id: 'call_a', name: 'db__sql', arguments: '{"input":"select \\"1\\""}' }),
      functionCall({ id: 'call_b', name: 'note', arguments: 'not JSON' }),
    ],
    decoding: flat,
    expected: [
      { type: 'tool_call', index: 0, callId: 'call_a', name: 'sql', namespace: 'db', kind: 'custom' },
      { type: 'tool_arguments', index: 0, delta: 'select "1"' },
      { type: 'tool_call', index: 1, callId: 'call_b', name: 'note', kind: 'custom' },
      { type: 'tool_arguments', index: 1, delta: 'not JSON' },
    ],
  },
  'text, a call and a text': {
    said: [
      message('One ', { id: 'msg_a' }),
      functionCall({ id: 'call_a', name: 'now', arguments: '{}' }),
      message('two', { id: 'msg_b' }),
    ],
    expected: [
      says('One '),
      spokenEnd,
      { type: 'tool_call', index: 1, callId: 'call_a', name: 'now' },
      { type: 'tool_arguments', index: 1, delta: '{}' },
      says('two'),
      spokenEnd,
    ],
  },
  'items of no known type': {
    said: [
      hosted({ id: 'x_1', type: 'acme:dream', dreams: 3 }, {}, [{ type: 'response.acme.dreaming' }]),
      message('Hi'),
    ],
    expected: [says('Hi'), spokenEnd],
  },
};

/** Where the end of the answer itself emits something, the case says so. */
function expectedOf({ expected }: Case): ModelEvent[] {
  const rest = expected.some((event) => event.type === 'model') ? closing.slice(1) : closing;
  return [...opening, ...expected, ...rest];
}

describe('a response', () => {
  for (const [name, one] of Object.entries(cases)) {
    const bytes = Buffer.from(responsesSse(responseEvents(one.said)));

    test(`${name}, cut at every byte`, () => {
      const expected = expectedOf(one);
      const whole = JSON.stringify(expected);
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        const said = joined(decodeBytes(bytes, [cut], one.decoding));
        // Several times as fast as comparing them value by value.
        if (JSON.stringify(said) !== whole) expect(said, `cut at ${cut}`).toEqual(expected);
      }
      const each = Array.from({ length: bytes.length }, (_, at) => at);
      expect(joined(decodeBytes(bytes, each, one.decoding))).toEqual(expected);
    });

    test(`${name}, whole`, () => {
      expect(joined(decodeWhole(wholeResponse(one.said), one.decoding))).toEqual(expectedOf(one));
    });

    test(`${name}, with no event but the items' ends`, () => {
      const stream = responseEvents(one.said).filter(({ type }) =>
        ['response.output_item.done', 'response.completed'].includes(String(type)),
      );
      expect(joined(decodeEvents(stream, one.decoding))).toEqual(withoutOpening(one));
    });

    test(`${name}, with no event but the terminal one`, () => {
      expect(joined(decodeEvents(responseEvents(one.said).slice(-1), one.decoding))).toEqual(expectedOf(one));
    });

    test(`${name}, with nothing announced`, () => {
      const stream = responseEvents(one.said).filter(({ type }) => !String(type).endsWith('.added'));
      expect(joined(decodeEvents(stream, one.decoding))).toEqual(expectedOf(one));
    });

    test(`${name}, under other ids in every event`, () => {
      let count = 0;
      const renamed = responseEvents(one.said).map((event) => {
        count += 1;
        const item = event['item'];
        const id = `id_${count}`;
        if (typeof item === 'object') return { ...event, item: { ...item, id } };
        return 'item_id' in event ? { ...event, item_id: id } : event;
      });
      expect(joined(decodeEvents(renamed, one.decoding))).toEqual(expectedOf(one));
    });

    test(`${name}, with one index for all`, () => {
      const stream = responseEvents(one.said).map((event) =>
        'output_index' in event ? { ...event, output_index: 0 } : event,
      );
      expect(joined(decodeEvents(stream, one.decoding))).toEqual(expectedOf(one));
    });
  }
});

/** Without `response.created` the model is named at the end. */
function withoutOpening(one: Case): ModelEvent[] {
  const all = expectedOf(one).slice(1);
  const at = all.findIndex((event) => event.type === 'model');
  return all.toSpliced(at, 0, ...opening);
}

describe('how a response ends', () => {
  const said = [message('Hello there')];
  const end = (more: object) => decodeEvents(responseEvents(said, more)).at(-1);

  test.each([
    ['completed', {}, { reason: 'stop' }],
    [
      'at its limit',
      { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
      { reason: 'max_output_tokens' },
    ],
    [
      'at a filter',
      { status: 'incomplete', incomplete_details: { reason: 'content_filter' } },
      { reason: 'content_filter' },
    ],
    [
      'for another reason',
      { status: 'incomplete', incomplete_details: { reason: 'bored' } },
      { reason: 'max_output_tokens' },
    ],
    ['for none', { status: 'incomplete' }, { reason: 'max_output_tokens' }],
  ])('%s', (_name, more, expected) => {
    expect(end(more)).toEqual({ type: 'end', ...expected });
    expect(decodeWhole(wholeResponse(said, more)).at(-1)).toEqual({ type: 'end', ...expected });
  });

  test('by its status, where the event says completed', () => {
    const events = responseEvents(said).slice(0, -1);
    const cut = wholeResponse(said, { status: 'incomplete', incomplete_details: { reason: 'content_filter' } });
    expect(decodeEvents([...events, { type: 'response.completed', response: cut }]).at(-1)).toEqual({
      type: 'end',
      reason: 'content_filter',
    });
    const before = wholeResponse(said, { status: 'in_progress' });
    expect(decodeEvents([...events, { type: 'response.completed', response: before }]).at(-1)).toEqual({
      type: 'end',
      reason: 'stop',
    });
  });

  test.each([
    [
      'failed',
      { type: 'response.failed', response: { status: 'failed', error: { code: 'server_error', message: 'no' } } },
      /"no"/,
    ],
    ['failed without a word', { type: 'response.failed' }, /^reported \{\}$/],
    ['a flat error', { type: 'error', code: 'server_error', message: 'no', param: null }, /"no"/],
    [
      'a nested error',
      { type: 'error', error: { code: 'x', message: 'no' } },
      /^reported \{"code":"x","message":"no"\}$/,
    ],
    ['an error of no type', { error: { message: 'no' } }, /^reported \{"message":"no"\}$/],
    ['cancelled', { type: 'response.cancelled', response: { status: 'cancelled' } }, /cancelled its answer/],
  ])('%s', (_name, last, expected) => {
    const events = responseEvents(said).slice(0, 5);
    expect(failureOf(decodeEvents([...events, last]))).toMatch(expected);
  });

  test('with what was cut short left open', () => {
    const whole = message('One ', { id: 'msg_a' });
    const half = message('two', { id: 'msg_b' });
    const cut = { ...half, item: { ...half.item, status: 'incomplete' } };
    const stream = responseEvents([whole, cut], { status: 'incomplete' });
    for (const events of [decodeEvents(stream), decodeWhole(wholeResponse([whole, cut], { status: 'incomplete' }))]) {
      expect(joined(events).filter(({ type }) => type !== 'model' && type !== 'usage')).toEqual([
        says('One '),
        spokenEnd,
        says('two'),
        { type: 'end', reason: 'max_output_tokens' },
      ]);
    }
  });

  test('once: nothing that follows counts', () => {
    const events = responseEvents(said);
    const more = [
      { type: 'response.output_text.delta', item_id: 'msg_up_1', output_index: 0, content_index: 0, delta: 'more' },
      { type: 'response.failed', response: { error: { message: 'no' } } },
      'not JSON',
    ];
    expect(decodeEvents([...events, ...more])).toEqual(decodeEvents(events));
  });

  test('with a failure where its end is missing', () => {
    const events = responseEvents(said).slice(0, -1);
    expect(failureOf(decodeEvents(events))).toMatch(/broke off/);
    expect(failureOf(decodeEvents([...events, '[DONE]']))).toMatch(/broke off/);
    expect(failureOf(decodeEvents([]))).toMatch(/empty answer/);
    expect(failureOf(decodeEvents(['[DONE]']))).toMatch(/empty answer/);
  });

  test('without its calls being usable, where it was cut short', () => {
    const call = functionCall({ id: 'call_a', name: 'now', arguments: '{"half' });
    expect(failureOf(decodeEvents(responseEvents([call])))).toMatch(/`now` with arguments that are not valid JSON/);
    expect(decodeEvents(responseEvents([call], { status: 'incomplete' })).at(-1)).toMatchObject({
      reason: 'max_output_tokens',
    });
  });
});

describe('log probabilities', () => {
  const entry = { token: 'é', logprob: -0.5, top_logprobs: [{ token: 'e', logprob: -2 }] };
  const at = { item_id: 'msg_up_1', output_index: 0, content_index: 0 };
  const stream = [
    { type: 'response.output_text.delta', ...at, delta: 'é', logprobs: [entry] },
    { type: 'response.output_text.delta', ...at, delta: '', logprobs: [entry] },
    { type: 'response.output_text.delta', ...at, delta: '!', logprobs: 'none' },
    { type: 'response.completed', response: { status: 'completed' } },
  ];

  test('are full where they were asked for', () => {
    const full = {
      token: 'é',
      logprob: -0.5,
      bytes: [195, 169],
      top_logprobs: [{ token: 'e', logprob: -2, bytes: [101] }],
    };
    expect(decodeEvents(stream, { logprobs: true }).slice(0, 3)).toEqual([
      { type: 'text', delta: 'é', logprobs: [full] },
      { type: 'text', delta: '', logprobs: [full] },
      { type: 'text', delta: '!', logprobs: [] },
    ]);
  });

  test('are left out where they were not', () => {
    expect(decodeEvents(stream).slice(0, 2)).toEqual([says('é'), says('!')]);
  });
});
