import { describe, expect, it } from 'vitest';
import { type Json, serve, type WireEvent } from '../support/harness.ts';
import { checkEvents, checkResponse } from '../support/wire-schemas.ts';
import {
  beginning,
  begun,
  body,
  calls,
  done,
  failed,
  failure,
  message,
  numbered,
  reasoning,
  set,
  whole,
} from './wire-sample.ts';

type Break = (events: WireEvent[]) => void;

/** The place of the nth event of a type. */
function at(events: readonly WireEvent[], type: string, nth = 0): number {
  const places = events.flatMap(({ event }, index) => (event === `response.${type}` ? [index] : []));
  const place = places[nth];
  if (place === undefined) throw new Error(`no ${type}`);
  return place;
}

/** Sets a field of the nth event of a type. */
function change(type: string, path: string, value: unknown, nth = 0): Break {
  return (events) => set(events[at(events, type, nth)]?.data, path, value);
}

/** Changes the order, and numbers what comes of it anew, so that the order alone is wrong. */
function reorder(edit: Break): Break {
  return (events) => {
    edit(events);
    for (const [index, each] of events.entries()) each.data.sequence_number = index;
  };
}

function drop(type: string, nth = 0): Break {
  return reorder((events) => void events.splice(at(events, type, nth), 1));
}

function twice(type: string, nth = 0): Break {
  return reorder((events) => {
    const place = at(events, type, nth);
    events.splice(place, 0, structuredClone(events[place]) as WireEvent);
  });
}

function insert(event: Json, before: string): Break {
  return reorder((events) => void events.splice(at(events, before), 0, { event: event.type, data: { ...event } }));
}

function renumber(events: readonly WireEvent[], from: number): void {
  for (const each of events.slice(from)) each.data.sequence_number += 1;
}

const breaks: readonly (readonly [name: string, edit: Break])[] = [
  ['no response.created', drop('created')],
  ['no response.in_progress', drop('in_progress')],
  ['two response.created', twice('created')],
  ['two response.in_progress', twice('in_progress')],
  ['no terminal event', drop('completed')],
  ['two terminal events', twice('completed')],
  ['an event behind the terminal one', reorder((events) => void events.push(...structuredClone(events.slice(10, 11))))],
  ['no events at all', (events) => void events.splice(0)],
  ['numbers from 1', (events) => renumber(events, 0)],
  ['a gap in the numbers', (events) => renumber(events, 5)],
  ['a number twice', change('output_text.delta', 'sequence_number', 10)],
  ['no number', change('output_text.delta', 'sequence_number', undefined)],
  ['a name that is not the type', (events) => events.splice(4, 1, { event: 'response.delta', data: events[4]?.data })],
  ['an unknown event', insert({ type: 'keepalive' }, 'output_text.delta')],
  ['an unknown field', change('output_text.delta', 'text', 'Hi')],
  ['a queued foreground response', insert({ type: 'response.queued', response: begun }, 'in_progress')],
  [
    'error without response.failed',
    insert({ type: 'error', ...failure, error: { ...failure, type: 'x' } }, 'completed'),
  ],
  ['another response', change('completed', 'response.id', 'resp_2')],
  ['a setting that changes', change('completed', 'response.temperature', 0.5)],
  ['a snapshot that is wrong', change('in_progress', 'response.top_p', null)],
  ['snapshots that differ at the start', change('in_progress', 'response.created_at', 1_700_000_001)],
  ['a snapshot that is completed at the start', change('created', 'response', done)],
  ['usage at the start', change('created', 'response.usage', done.usage)],
  [
    'a terminal event of another status',
    change('completed', 'response', {
      ...begun,
      status: 'incomplete',
      incomplete_details: { reason: 'content_filter' },
    }),
  ],
  ['no output in the last snapshot', change('completed', 'response.output', [])],
  ['an item too few in the last snapshot', change('completed', 'response.output', done.output.slice(1))],
  ['items in another order', change('completed', 'response.output', done.output.toReversed())],
  ['another text in the last snapshot', change('completed', 'response.output.1.content.0.text', 'Hi')],
  ['no output_item.added', drop('output_item.added', 1)],
  ['no output_item.done', drop('output_item.done', 1)],
  ['the last output_item.done missing', drop('output_item.done', 3)],
  ['two output_item.added', twice('output_item.added', 1)],
  ['two output_item.done', twice('output_item.done', 1)],
  ['an output_index left out', change('output_item.added', 'output_index', 2, 1)],
  ['two calls under one output_index', change('output_item.added', 'output_index', 2, 3)],
  ['another id in output_item.done', change('output_item.done', 'item.id', 'msg_2', 1)],
  ['another call_id in output_item.done', change('output_item.done', 'item.call_id', 'call_3', 2)],
  ['another name in output_item.done', change('output_item.done', 'item.name', 'f9', 2)],
  ['another type in output_item.done', change('output_item.done', 'item', calls[1], 1)],
  ['an id twice', change('output_item.added', 'item.id', 'fc_1', 3)],
  ['an empty id', change('output_item.added', 'item.id', '', 1)],
  ['an empty call_id', change('output_item.added', 'item.call_id', '', 2)],
  ['content in output_item.added', change('output_item.added', 'item.content', message.content, 1)],
  ['arguments in output_item.added', change('output_item.added', 'item.arguments', '{}', 2)],
  ['completed in output_item.added', change('output_item.added', 'item.status', 'completed', 1)],
  ['in progress in output_item.done', change('output_item.done', 'item.status', 'in_progress', 1)],
  ['a status that the last snapshot does not have', change('output_item.done', 'item.status', 'incomplete', 1)],
  ['another text in output_item.done', change('output_item.done', 'item.content.0.text', 'Ho there', 1)],
  ['no content_part.added', drop('content_part.added')],
  ['no content_part.done', drop('content_part.done')],
  ['two content_part.done', twice('content_part.done')],
  ['a content_index left out', change('content_part.added', 'content_index', 2, 1)],
  ['a content_index that stays', change('content_part.added', 'content_index', 0, 1)],
  ['a part that is not empty', change('content_part.added', 'part.text', 'Hi')],
  ['a part without annotations', change('content_part.added', 'part.annotations', undefined)],
  ['another part in content_part.done', change('content_part.done', 'part.text', 'Hi')],
  ['a part of another type', change('content_part.done', 'part', message.content[1])],
  ['a delta of another item', change('output_text.delta', 'item_id', 'rs_1')],
  ['a delta of another output_index', change('output_text.delta', 'output_index', 0)],
  ['a delta of another part', change('output_text.delta', 'content_index', 1)],
  ['a delta without logprobs', change('output_text.delta', 'logprobs', undefined, 1)],
  ['obfuscation that is null', change('output_text.delta', 'obfuscation', null)],
  ['a delta too few', drop('output_text.delta', 1)],
  ['a delta twice', twice('output_text.delta', 1)],
  ['no output_text.done', drop('output_text.done')],
  ['another text in output_text.done', change('output_text.done', 'text', 'Hi there!')],
  ['other logprobs in output_text.done', change('output_text.done', 'logprobs', [])],
  ['text in place of a refusal', change('refusal.done', 'refusal', undefined)],
  ['another refusal', change('refusal.done', 'refusal', 'Yes.')],
  ['arguments in no delta', drop('function_call_arguments.delta', 1)],
  ['arguments out of order', change('function_call_arguments.delta', 'item_id', 'fc_2')],
  ['no function_call_arguments.done', drop('function_call_arguments.done')],
  ['two function_call_arguments.done', twice('function_call_arguments.done')],
  ['no name in function_call_arguments.done', change('function_call_arguments.done', 'name', undefined)],
  ['another name in function_call_arguments.done', change('function_call_arguments.done', 'name', 'f2')],
  ['other arguments in function_call_arguments.done', change('function_call_arguments.done', 'arguments', '{}')],
  ['no reasoning_summary_part.added', drop('reasoning_summary_part.added')],
  ['no reasoning_summary_part.done', drop('reasoning_summary_part.done')],
  ['a summary_index left out', change('reasoning_summary_part.added', 'summary_index', 1)],
  ['a summary delta too few', drop('reasoning_summary_text.delta')],
  ['another summary', change('reasoning_summary_text.done', 'text', 'Let')],
  [
    'an item that begins before the message has ended',
    reorder((events) => {
      const [ended] = events.splice(at(events, 'output_item.done', 1), 1);
      events.splice(at(events, 'output_item.added', 2) + 1, 0, ended as WireEvent);
    }),
  ],
];

const failedBreaks: readonly (readonly [name: string, edit: Break])[] = [
  ['no error event', reorder((events) => void events.splice(-2, 1))],
  ['no response.failed', drop('failed')],
  ['two forms that differ', (events) => set(events.at(-2)?.data, 'message', 'Another.')],
  ['no nested error', (events) => set(events.at(-2)?.data, 'error', undefined)],
  ['no type in the nested error', (events) => set(events.at(-2)?.data, 'error.type', undefined)],
  ['no error in the snapshot', change('failed', 'response.error', null)],
  ['an output that forgets what was said', change('failed', 'response.output', [reasoning])],
  ['a cut item that is completed', change('failed', 'response.output.1.status', 'completed')],
];

describe('checkEvents', () => {
  it('takes streams that are right', () => {
    checkEvents(numbered(whole));
    checkEvents(numbered(failed));
    const cut = { ...message, status: 'incomplete', content: [] };
    const shown = {
      ...begun,
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [cut],
    };
    checkEvents(
      numbered([
        ...beginning,
        { type: 'response.output_item.added', output_index: 0, item: { ...cut, status: 'in_progress' } },
        { type: 'response.output_item.done', output_index: 0, item: cut },
        { type: 'response.incomplete', response: shown },
      ]),
    );
  });

  it('finds an incomplete response whose last item is completed', () => {
    const shown = {
      ...done,
      status: 'incomplete',
      completed_at: null,
      incomplete_details: { reason: 'max_output_tokens' },
    };
    expect(() =>
      checkEvents(numbered([...beginning, ...body, { type: 'response.incomplete', response: shown }])),
    ).toThrow('its last item is completed');
  });

  it.each(breaks)('finds %s', (_name, edit) => {
    const events = numbered(whole);
    edit(events);
    expect(() => checkEvents(events)).toThrow();
  });

  it.each(failedBreaks)('finds %s in a stream that failed', (_name, edit) => {
    const events = numbered(failed);
    edit(events);
    expect(() => checkEvents(events)).toThrow();
  });

  it('takes what the server streams', async () => {
    const server = await serve({ 'stream.obfuscation': 'true' });
    const tools = [
      {
        type: 'function',
        name: 'get_weather',
        parameters: { type: 'object', properties: { city: { type: 'string' } } },
      },
    ];
    for (const input of [
      'Hello',
      'demo: think hard',
      'demo: refuse',
      'demo: filter',
      'demo: fail midway',
      'demo: empty',
    ]) {
      checkEvents((await server.stream({ model: 'demo', input, store: true })).events);
    }
    const { events } = await server.stream({ model: 'demo', input: 'What is the weather in Oslo and Rome?', tools });
    checkEvents(events);
    expect(events.at(-1)?.data.response.output.length).toBeGreaterThan(1);
    checkResponse(await server.respond({ model: 'demo', input: 'Hello' }));
  });
});
