import { describe, expect, it } from 'vitest';
import type { Json, WireEvent } from '../support/harness.ts';
import { checkEvents } from '../support/wire-schemas.ts';
import { beginning, begun, numbered, set } from './wire-sample.ts';

const annotation = { type: 'url_citation', url: 'https://example.com', title: 'A', start_index: 0, end_index: 2 };
const thought = {
  ...{ id: 'rs_1', type: 'reasoning', summary: [] },
  ...{ content: [{ type: 'reasoning_text', text: 'Hm' }], encrypted_content: 'orsp1.x' },
};
const message = {
  ...{ id: 'msg_1', type: 'message', status: 'completed', role: 'assistant' },
  content: [{ type: 'output_text', text: 'Hi', annotations: [annotation], logprobs: [] }],
  phase: 'commentary',
};
const call = {
  ...{ id: 'ctc_1', type: 'custom_tool_call', status: 'completed', call_id: 'call_1', name: 'run' },
  ...{ input: 'not json', namespace: 'crm' },
};
const search = { id: 'ws_1', type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'x' } };
const inThought = { item_id: 'rs_1', output_index: 0, content_index: 0 };
const inText = { item_id: 'msg_1', output_index: 1, content_index: 0 };
const inCall = { item_id: 'ctc_1', output_index: 2 };
const inSearch = { item_id: 'ws_1', output_index: 3 };
const { encrypted_content: _sealed, content: _content, ...openThought } = thought;
const { phase: _phase, ...openMessage } = message;

/** What the other sample has not, written down by hand; `reasoning` names the events of raw reasoning. */
function sample(reasoning: 'reasoning' | 'reasoning_text'): Json[] {
  return [
    ...beginning,
    { type: 'response.output_item.added', output_index: 0, item: openThought },
    { type: 'response.content_part.added', ...inThought, part: { type: 'reasoning_text', text: '' } },
    { type: `response.${reasoning}.delta`, ...inThought, delta: 'Hm' },
    { type: `response.${reasoning}.done`, ...inThought, text: 'Hm' },
    { type: 'response.content_part.done', ...inThought, part: thought.content[0] },
    { type: 'response.output_item.done', output_index: 0, item: thought },
    {
      type: 'response.output_item.added',
      output_index: 1,
      item: { ...openMessage, status: 'in_progress', content: [] },
    },
    {
      ...{ type: 'response.content_part.added', ...inText },
      part: { type: 'output_text', text: '', annotations: [], logprobs: [] },
    },
    { type: 'response.output_text.delta', ...inText, delta: 'Hi', logprobs: [] },
    { type: 'response.output_text.annotation.added', ...inText, annotation_index: 0, annotation },
    { type: 'response.output_text.done', ...inText, text: 'Hi', logprobs: [] },
    { type: 'response.content_part.done', ...inText, part: message.content[0] },
    { type: 'response.output_item.done', output_index: 1, item: message },
    { type: 'response.output_item.added', output_index: 2, item: { ...call, status: 'in_progress', input: '' } },
    { type: 'response.custom_tool_call_input.delta', ...inCall, delta: 'not ' },
    { type: 'response.output_item.added', output_index: 3, item: { ...search, status: 'in_progress' } },
    { type: 'response.web_search_call.searching', ...inSearch, more: 1 },
    { type: 'response.custom_tool_call_input.delta', ...inCall, delta: 'json' },
    { type: 'response.output_item.done', output_index: 3, item: search },
    { type: 'response.custom_tool_call_input.done', ...inCall, input: 'not json' },
    { type: 'response.output_item.done', output_index: 2, item: call },
    {
      type: 'response.completed',
      response: {
        ...{ ...begun, status: 'completed', completed_at: 1_700_000_001 },
        output: [thought, message, call, search],
      },
    },
  ];
}

function change(type: string, path: string, value: unknown): (events: WireEvent[]) => void {
  return (events) => set(events.find(({ event }) => event === `response.${type}`)?.data, path, value);
}

function drop(type: string): (events: WireEvent[]) => void {
  return (events) => {
    const at = events.findIndex(({ event }) => event === `response.${type}`);
    events.splice(at, 1);
    for (const [index, each] of events.entries()) each.data.sequence_number = index;
  };
}

const breaks: readonly (readonly [name: string, edit: (events: WireEvent[]) => void])[] = [
  ['an annotation that no event brought', drop('output_text.annotation.added')],
  ['an annotation left out', change('output_text.annotation.added', 'annotation_index', 1)],
  ['an annotation without a type', change('output_text.annotation.added', 'annotation', {})],
  ['an annotation of another part', change('output_text.annotation.added', 'content_index', 1)],
  ['an annotation of another item', change('output_text.annotation.added', 'item_id', 'ctc_1')],
  ['an input that no delta brought', drop('custom_tool_call_input.delta')],
  ['no custom_tool_call_input.done', drop('custom_tool_call_input.done')],
  ['another input', change('custom_tool_call_input.done', 'input', 'x')],
  ['arguments in place of an input', change('custom_tool_call_input.done', 'arguments', '{}')],
  ['a name in custom_tool_call_input.done', change('custom_tool_call_input.done', 'name', 'run')],
  ['an input of another item', change('custom_tool_call_input.delta', 'item_id', 'ws_1')],
  ['a thought too few', drop('reasoning_text.delta')],
  ['another thought', change('reasoning_text.done', 'text', 'Ha')],
  ['a summary_index in a thought', change('reasoning_text.delta', 'summary_index', 0)],
  ['a search of another item', change('web_search_call.searching', 'item_id', 'ctc_1')],
  ['a search of another place', change('web_search_call.searching', 'output_index', 2)],
  ['a namespace that is null', change('output_item.done', 'item.namespace', null)],
  ['content that is empty', (events) => set(events.at(-1)?.data, 'response.output.0.content', [])],
];

describe('checkEvents, of what a Responses upstream may bring', () => {
  it.each(['reasoning', 'reasoning_text'] as const)('takes streams that are right, with %s', (reasoning) => {
    checkEvents(numbered(sample(reasoning)));
  });

  it.each(breaks)('finds %s', (_name, edit) => {
    const events = numbered(sample('reasoning_text'));
    edit(events);
    expect(() => checkEvents(events)).toThrow();
  });
});
