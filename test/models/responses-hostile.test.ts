import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ModelEvent } from '../../src/model.ts';
import {
  customCall,
  functionCall,
  hosted,
  message,
  reasoning,
  refusal,
  responseEvents,
} from '../support/responses-upstream.ts';
import { type Decoding, decodeEvents, decodeWhole, failureOf } from './responses-decoding.ts';

const honest = responseEvents([
  reasoning({ summary: ['First this.', 'Then that.'], text: 'Hm.', encrypted: 'gAAA' }),
  message('Hello there all', {
    phase: 'commentary',
    annotations: [{ type: 'url_citation', url: 'https://a.example' }],
  }),
  hosted({ id: 'ws_1', type: 'web_search_call', status: 'completed' }, {}, [
    { type: 'response.web_search_call.searching' },
  ]),
  functionCall({ id: 'call_a', name: 'get_weather', arguments: '{"city":"Bern"}' }),
  customCall({ id: 'call_b', name: 'sql', input: 'select 1' }),
  refusal('No.'),
]);

const done = { type: 'response.completed', response: { status: 'completed', output: [] } };
const delta = { type: 'response.output_text.delta', item_id: 'msg_1', output_index: 0, content_index: 0 };

/** What every answer must look like, whatever the upstream sent. */
function checkForm(events: readonly ModelEvent[]): void {
  const calls = new Set<number>();
  const hostedItems = new Map<number, 'open' | 'done'>();
  let part = -1;
  for (const [at, event] of events.entries()) {
    expect(event.type === 'end').toBe(at === events.length - 1);
    if (event.type === 'tool_call') {
      expect(calls.has(event.index)).toBe(false);
      calls.add(event.index);
      expect(event.name).not.toBe('');
    } else if (event.type === 'tool_arguments') {
      expect(calls.has(event.index)).toBe(true);
      expect(event.delta).not.toBe('');
    } else if (event.type === 'hosted') {
      expect(hostedItems.get(event.index)).toBe(event.at.kind === 'added' ? undefined : 'open');
      hostedItems.set(event.index, event.at.kind === 'done' ? 'done' : 'open');
    } else if (event.type === 'text') {
      expect(typeof event.delta).toBe('string');
    } else if (event.type === 'spoken_end') {
      part = -1;
    } else if (event.type === 'reasoning' && event.summary !== undefined) {
      expect([part, part + 1]).toContain(event.summary.part);
      part = event.summary.part;
    }
  }
}

const settings: Decoding[] = [
  {},
  { logprobs: true },
  {
    marksReasoning: true,
    kinds: { namespaces: false, customTools: false },
    tools: [{ type: 'custom', name: 'get_weather' }],
  },
];

describe('an upstream that lies', () => {
  const junk = fc.oneof(
    fc.constantFrom(null, true, -1, 1e308, '', 'x', [], {}, [null], [[{}]], { type: 7 }, 'response.completed'),
    fc.jsonValue(),
  );

  test('in one field of an event brings nothing out of form', () => {
    const field = fc.integer({ min: 0, max: honest.length - 1 }).chain((at) =>
      fc.record({
        at: fc.constant(at),
        path: fc.constantFrom(...pathsIn(honest[at])),
        value: junk,
        with: fc.constantFrom(...settings),
      }),
    );
    fc.assert(
      fc.property(field, ({ at, path, value, with: decoding }) => {
        const changed = honest.with(at, withValue(honest[at], path, value) as (typeof honest)[number]);
        checkForm(decodeEvents(changed, decoding));
      }),
      { numRuns: 3_000 },
    );
  });

  test('about the order, or says things twice, brings nothing out of form', () => {
    const shuffled = fc.array(fc.constantFrom(...honest), { maxLength: 60 });
    fc.assert(
      fc.property(shuffled, fc.constantFrom(...settings), (events, decoding) => {
        checkForm(decodeEvents([...events, done], decoding));
        checkForm(decodeEvents(events, decoding));
      }),
      { numRuns: 1_000 },
    );
  });

  test('about everything brings nothing out of form', () => {
    fc.assert(
      fc.property(fc.array(junk, { maxLength: 5 }), (events) => {
        checkForm(decodeEvents([...events, done]));
        for (const event of events) checkForm(decodeWhole(event));
      }),
      { numRuns: 1_000 },
    );
  });

  test('says each thing once, however often it is told', () => {
    const twice = honest.slice(0, -1).flatMap((event) => {
      const isDelta = String(event['type']).endsWith('.delta') || String(event['type']).includes('annotation');
      return isDelta || event['type'] === 'response.web_search_call.searching' ? [event] : [event, event];
    });
    expect(decodeEvents([...twice, ...honest.slice(-1)])).toEqual(decodeEvents(honest));
  });
});

describe('an answer that can not be used', () => {
  test.each([
    ['an event that is not JSON', ['{"type": "response.'], /not JSON/],
    ['an event that is no object', ['17'], /not an object/],
    ['an event that is a list', ['[]'], /not an object/],
    ['nothing that is known', [{ type: 'chat.completion.chunk' }, '[DONE]'], /empty answer/],
    ['chunks of another API', [{ object: 'chat.completion.chunk', choices: [] }, '[DONE]'], /empty answer/],
    [
      'a call without a name',
      [{ type: 'response.output_item.added', item: { type: 'function_call', id: 'a' } }, done],
      /without naming it/,
    ],
    [
      'more things than anybody means to say',
      Array.from({ length: 1_001 }, (_, at) => ({
        type: 'response.output_item.added',
        item: { type: 'message', id: `m${at}` },
      })),
      /more than 1000 things/,
    ],
  ] as [string, unknown[], RegExp][])('%s', (_name, events, message_) => {
    expect(failureOf(decodeEvents(events))).toMatch(message_);
  });

  test.each([
    ['not JSON', '{"output":', /not JSON/],
    ['another API', { object: 'chat.completion', choices: [] }, /not a response/],
    ['a list', [], /not a response/],
    ['an error', { error: { message: 'no' } }, /^reported \{"message":"no"\}$/],
    ['a response that failed', { object: 'response', status: 'failed', error: { message: 'no' } }, /^reported/],
    ['a response that runs', { object: 'response', status: 'in_progress', output: [] }, /did not finish/],
    ['a response that waits', { object: 'response', status: 'queued', output: [] }, /did not finish/],
    ['a response that was cancelled', { object: 'response', status: 'cancelled', output: [] }, /cancelled/],
  ] as [string, unknown, RegExp][])('whole: %s', (_name, body, message_) => {
    expect(failureOf(decodeWhole(body))).toMatch(message_);
  });
});

describe('a server with habits of its own', () => {
  test('that sends no types of items but their events', () => {
    const events = decodeEvents([{ ...delta, delta: 'Hello ' }, { ...delta, delta: 'there' }, done]);
    expect(events.slice(0, 3)).toEqual([
      { type: 'text', delta: 'Hello ' },
      { type: 'text', delta: 'there' },
      { type: 'spoken_end' },
    ]);
  });

  test('that leaves out ids and indexes', () => {
    const bare = [
      { type: 'response.output_text.delta', delta: 'Hello ' },
      { type: 'response.output_text.delta', delta: 'there' },
      { type: 'response.output_text.done', text: 'Hello there' },
      {
        type: 'response.output_item.done',
        item: { type: 'message', content: [{ type: 'output_text', text: 'Hello there' }] },
      },
      { type: 'response.completed', response: { output: [{ type: 'message', content: 'Hello there' }] } },
    ];
    expect(decodeEvents(bare)).toEqual([
      { type: 'text', delta: 'Hello ' },
      { type: 'text', delta: 'there' },
      { type: 'spoken_end' },
      { type: 'end', reason: 'stop' },
    ]);
  });

  test('that uses the names of the Open Responses standard for reasoning', () => {
    const at = { item_id: 'rs_1', output_index: 0, content_index: 0 };
    const events = decodeEvents([
      { type: 'response.reasoning.delta', ...at, delta: 'Hm' },
      { type: 'response.reasoning.done', ...at, text: 'Hm' },
      done,
    ]);
    expect(events.slice(0, 2)).toEqual([{ type: 'reasoning', delta: 'Hm' }, { type: 'spoken_end' }]);
  });

  test('that sends arguments as an object, and only whole', () => {
    const item = { type: 'function_call', call_id: 'call_1', name: 'now', arguments: { zone: 'UTC' } };
    expect(decodeEvents([{ type: 'response.output_item.done', item }, done]).slice(0, 2)).toEqual([
      { type: 'tool_call', index: 0, callId: 'call_1', name: 'now' },
      { type: 'tool_arguments', index: 0, delta: '{"zone":"UTC"}' },
    ]);
  });

  test('that names a call in its last event only', () => {
    const at = { item_id: 'fc_1', output_index: 0 };
    const events = decodeEvents([
      { type: 'response.function_call_arguments.delta', ...at, delta: '{}' },
      { type: 'response.function_call_arguments.done', ...at, arguments: '{}', name: 'now' },
      done,
    ]);
    expect(events.slice(0, 2)).toEqual([
      { type: 'tool_call', index: 0, callId: undefined, name: 'now' },
      { type: 'tool_arguments', index: 0, delta: '{}' },
    ]);
  });

  test('that mixes the arguments of parallel calls', () => {
    const added = (id: string, at: number) => {
      const item = { type: 'function_call', id, call_id: `call_${id}`, name: id, arguments: '' };
      return { type: 'response.output_item.added', output_index: at, item };
    };
    const piece = (id: string, text: string) => {
      return { type: 'response.function_call_arguments.delta', item_id: id, delta: text };
    };
    const events = decodeEvents([
      added('a', 0),
      added('b', 1),
      piece('b', '{"b":'),
      piece('a', '{}'),
      piece('b', '1}'),
      done,
    ]);
    expect(events.filter((event) => event.type === 'tool_arguments')).toEqual([
      { type: 'tool_arguments', index: 1, delta: '{"b":' },
      { type: 'tool_arguments', index: 0, delta: '{}' },
      { type: 'tool_arguments', index: 1, delta: '1}' },
    ]);
  });

  test('that shows in the end what it never told', () => {
    const shown = [
      { type: 'message', id: 'msg_other', content: [{ type: 'output_text', text: 'Hello there' }] },
      { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'now', arguments: '{}' },
    ];
    const events = decodeEvents([
      { ...delta, delta: 'Hello there' },
      { type: 'response.completed', response: { status: 'completed', output: shown } },
    ]);
    expect(events.filter((event) => event.type === 'text')).toEqual([{ type: 'text', delta: 'Hello there' }]);
    expect(events.filter((event) => event.type === 'tool_call')).toHaveLength(1);
  });
});

/** The paths of all values in an event. */
function pathsIn(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [[...path]];
  const inner = Object.entries(value).flatMap(([key, each]) => pathsIn(each, [...path, key]));
  return path.length === 0 ? inner : [[...path], ...inner];
}

function withValue(target: unknown, path: readonly string[], value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(target) ? [...target] : { ...(target as object) };
  return Object.assign(copy, { [key]: withValue((target as Record<string, unknown>)[key], rest, value) });
}
