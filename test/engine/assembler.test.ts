import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Assembler } from '../../src/engine/assembler.ts';
import { echoOf } from '../../src/engine/echo.ts';
import type { ReasoningForm } from '../../src/engine/reasoning-item.ts';
import { Snapshot } from '../../src/engine/snapshot.ts';
import { ApiError } from '../../src/errors.ts';
import { mintId } from '../../src/ids.ts';
import type { HostedMoment, ModelEnd, ModelEvent } from '../../src/model.ts';
import type { Json, WireEvent } from '../support/harness.ts';
import { checkEvents, checkResponse } from '../support/wire-schemas.ts';

type Said = Exclude<ModelEvent, ModelEnd>;
type Reason = 'stop' | 'max_output_tokens' | 'content_filter' | 'error';

/** Plays a model's events, with somebody watching or without. */
function play(
  said: readonly Said[],
  reason: Reason,
  options: { watched?: boolean; taken?: string[]; obfuscated?: boolean; form?: ReasoningForm; joined?: boolean } = {},
) {
  const events: WireEvent[] = [];
  const echo = echoOf(
    { model: 'm' },
    { id: mintId('resp'), createdAt: Date.now(), store: false, conversationId: undefined },
  );
  const assembler = new Assembler({
    snapshot: new Snapshot(echo),
    speaker: { model: 'm', provider: 'p' },
    serviceTier: 'default',
    reasoningForm: options.form ?? 'summary',
    seal: (provider, data) => `sealed ${JSON.stringify({ provider, data })}`,
    mintId,
    now: Date.now,
    sink: options.watched === false ? undefined : (event, json) => void events.push({ event, data: JSON.parse(json) }),
    // As if everything came in one turn: what waits goes when something else comes.
    hold: options.joined === true ? () => {} : undefined,
    obfuscation: options.obfuscated === true ? () => 'xyz' : undefined,
    takenCallIds: new Set(options.taken),
  });
  assembler.begin();
  for (const event of said) assembler.feed(event);
  const error = new ApiError('upstream_failed', 'it broke');
  const outcome =
    reason === 'error' ? assembler.failure({ code: 'server_error', message: 'it broke' }) : assembler.end(reason);
  const json = assembler.json(outcome);
  if (reason === 'error') assembler.error(error);
  assembler.finish(outcome, json);
  return { events, response: JSON.parse(json) as Json };
}

const searching: readonly HostedMoment[] = [
  { kind: 'added', item: { type: 'web_search_call', id: 'ws_upstream', status: 'in_progress' } },
  { kind: 'event', name: 'response.web_search_call.searching', fields: {} },
  {
    kind: 'done',
    item: {
      type: 'web_search_call',
      id: 'ws_upstream',
      status: 'completed',
      action: { type: 'search', query: 'q', queries: ['q'] },
    },
  },
];

function citation(url: string) {
  return { type: 'url_citation', url: `https://example.com/${url}`, title: 't', start_index: 0, end_index: 1 };
}

const text = fc.string({ unit: 'grapheme', maxLength: 6 });
const said: fc.Arbitrary<Said> = fc.oneof(
  text.map((delta) => ({ type: 'text', delta }) as const),
  text.map((delta) => ({ type: 'refusal', delta }) as const),
  text.map((delta) => ({ type: 'reasoning', delta }) as const),
  fc
    .record({
      index: fc.nat(3),
      callId: fc.option(fc.constantFrom('call_1', 'call_2', '', 'x'.repeat(70)), { nil: undefined }),
    })
    .map((call) => ({ type: 'tool_call', name: 'f"\\n', ...call }) as const),
  fc.record({ index: fc.nat(3), delta: text }).map((more) => ({ type: 'tool_arguments', ...more }) as const),
  fc.constant({ type: 'model', name: 'reported "model"', serviceTier: 'flex' } as const),
  text.map((url) => ({ type: 'annotation', annotation: citation(url) }) as const),
  fc.tuple(text, fc.nat(2)).map(([delta, part]) => ({ type: 'reasoning', delta, summary: { part } }) as const),
  text.map((signature) => ({ type: 'provider_data', data: { signature } }) as const),
  fc.constantFrom<Said>(
    { type: 'spoken_end' },
    { type: 'spoken_end', phase: 'commentary' },
    { type: 'spoken_end', encryptedContent: 'gAAAA' },
  ),
  fc
    .record({ index: fc.nat(3), callId: fc.constant('call_c'), namespace: fc.constantFrom('crm', 'cms') })
    .map((call) => ({ type: 'tool_call', name: 'c', kind: 'custom', ...call }) as const),
  fc.record({ index: fc.nat(2), at: fc.constantFrom<HostedMoment>(...searching) }).map((more) => {
    return { type: 'hosted', ...more } as const;
  }),
);
const forms = fc.constantFrom<ReasoningForm>('summary', 'openai', 'openresponses');
const flags = fc.record({ obfuscated: fc.boolean(), joined: fc.boolean() });
const reasons = fc.constantFrom<Reason>('stop', 'max_output_tokens', 'content_filter', 'error');

describe('the assembler', () => {
  it('whatever a model says, the events are in order and add up to the final snapshot', () => {
    fc.assert(
      fc.property(
        fc.array(said, { maxLength: 25 }),
        reasons,
        forms,
        flags,
        (list, reason, form, { obfuscated, joined }) => {
          // What the model itself has ended is not what was cut.
          const isCut = reason === 'max_output_tokens' || reason === 'content_filter';
          const said = isCut ? list.filter(({ type }) => type !== 'spoken_end') : list;
          const { events, response } = play(said, reason, { obfuscated, form, joined });
          checkEvents(events);
          checkResponse(response);
          expect(events.at(-1)?.data.response).toEqual(response);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('joins deltas that come together, where the transport waits for the end of the turn', () => {
    const list: Said[] = [
      { type: 'reasoning', delta: 'h' },
      { type: 'reasoning', delta: 'm' },
      { type: 'text', delta: 'a' },
      { type: 'text', delta: 'b"' },
      { type: 'text', delta: 'c', logprobs: [{ token: 'c', logprob: -1, bytes: [99], top_logprobs: [] }] },
      { type: 'text', delta: 'd' },
      { type: 'tool_call', index: 0, callId: 'call_a', name: 'f' },
      { type: 'tool_arguments', index: 0, delta: '{"x"' },
      { type: 'tool_arguments', index: 0, delta: ':1}' },
    ];
    const deltasOf = (joined: boolean) =>
      play(list, 'stop', { joined }).events.flatMap(({ data }) => ('delta' in data ? [data['delta']] : []));
    expect(deltasOf(true)).toEqual(['hm', 'ab"', 'c', 'd', '{"x":1}']);
    expect(deltasOf(false)).toEqual(['h', 'm', 'a', 'b"', 'c', 'd', '{"x"', ':1}']);
  });

  it('says the same with nobody watching', () => {
    fc.assert(
      fc.property(fc.array(said, { maxLength: 15 }), reasons, (list, reason) => {
        const masked = ({ response }: { response: Json }) =>
          JSON.stringify(response)
            .replaceAll(/(?:resp|msg|fc|rs|call|ctc|ws)_[0-9a-f]{48}(?:_[0-9a-f]{4})?/g, 'ID')
            .replaceAll(/_at":\d+/g, '_at":0');
        expect(masked(play(list, reason, { watched: false }))).toBe(masked(play(list, reason)));
      }),
    );
  });

  it('keeps interleaved arguments of parallel calls apart', () => {
    const { events, response } = play(
      [
        { type: 'tool_call', index: 0, callId: 'call_a', name: 'f' },
        { type: 'tool_arguments', index: 0, delta: '{"a"' },
        { type: 'tool_call', index: 1, callId: 'call_b', name: 'g' },
        { type: 'tool_arguments', index: 1, delta: '{"b"' },
        { type: 'tool_arguments', index: 0, delta: ':1}' },
        { type: 'tool_arguments', index: 1, delta: ':2}' },
      ],
      'stop',
    );
    checkEvents(events);
    expect(response.output.map((item: Json) => [item.call_id, item.arguments])).toEqual([
      ['call_a', '{"a":1}'],
      ['call_b', '{"b":2}'],
    ]);
  });

  it.each([
    ['an id of the context', 'call_0', ['call_0']],
    ['no id', undefined, []],
    ['an empty id', '', []],
    ['an id that is too long', 'x'.repeat(65), []],
  ])('mints a call id in place of %s', (_name, callId, taken) => {
    const { response } = play([{ type: 'tool_call', index: 0, callId, name: 'f' }], 'stop', { taken });
    expect(response.output[0].call_id).toMatch(/^call_[0-9a-f]{48}$/);
  });

  it('does not give one id to two calls', () => {
    const calls = [0, 1].map((index) => ({ type: 'tool_call', index, callId: 'same', name: 'f' }) as const);
    const { response } = play(calls, 'stop');
    expect(new Set(response.output.map((item: Json) => item.call_id)).size).toBe(2);
  });

  it('a model that says nothing answers with an empty message; cut short, with nothing', () => {
    expect(play([], 'stop').response.output).toMatchObject([{ type: 'message', status: 'completed' }]);
    expect(play([], 'max_output_tokens').response.output).toEqual([]);
  });
});
