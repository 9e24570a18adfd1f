import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  emptyCall,
  type Model,
  type ModelCall,
  type ModelEnd,
  type ModelEvent,
  type ModelSink,
  type ModelStream,
} from '../../src/model.ts';

/**
 * What a model is asked to do. `text`: answer with a text of at least three deltas when streamed, and with usage.
 * `tool`: call one of the call's functions, with arguments. `json`: answer with a text that is a JSON object.
 */
export type Scenario = 'text' | 'tool' | 'json';

/** An implementation under test, deterministic: the same call gets the same answer. */
export type ModelFixture = {
  readonly model: Model;
  /** The call that makes the model play a scenario. */
  call(scenario: Scenario): ModelCall;
  close(): Promise<void>;
};

/** A call with these fields and nothing else set. */
export function modelCall(fields: Partial<ModelCall> = {}): ModelCall {
  return { ...emptyCall, model: 'test-model', streamed: true, ...fields };
}

/** A user message that says `text`. */
export function userSays(text: string): ModelCall['items'][number] {
  const content = [{ type: 'input_text', text }] as const;
  return { id: 'msg_1', type: 'message', status: 'completed', role: 'user', content };
}

export type Run = { readonly events: ModelEvent[]; readonly stream: ModelStream; readonly ended: Promise<ModelEnd> };

/** Starts a call and collects its events. `onEvent` may act on the stream; it is undefined while `stream()` has not returned. */
export function run(
  model: Model,
  call: ModelCall,
  onEvent?: (event: ModelEvent, stream: ModelStream | undefined) => void,
): Run {
  const events: ModelEvent[] = [];
  let stream: ModelStream | undefined;
  const { promise, resolve } = Promise.withResolvers<ModelEnd>();
  const sink: ModelSink = (event) => {
    events.push(event);
    onEvent?.(event, stream);
    if (event.type === 'end') resolve(event);
  };
  stream = model.stream(call, sink);
  return { events, stream, ended: promise };
}

/** The whole text that was said. */
export function textOf(events: readonly ModelEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.delta : '')).join('');
}

/** The calls that were made, in order. */
export function callsOf(events: readonly ModelEvent[]): { id: string | undefined; name: string; arguments: string }[] {
  const calls = new Map<number, { id: string | undefined; name: string; arguments: string }>();
  for (const event of events) {
    if (event.type === 'tool_call') calls.set(event.index, { id: event.callId, name: event.name, arguments: '' });
    if (event.type !== 'tool_arguments') continue;
    const call = calls.get(event.index);
    if (call === undefined) throw new Error('arguments came before their call');
    call.arguments += event.delta;
  }
  return [...calls.values()];
}

async function finished(model: Model, call: ModelCall): Promise<ModelEvent[]> {
  const { events, ended } = run(model, call);
  await ended;
  return events;
}

/** How many cases `modelContract` has: asserted, so that none can hide. */
export const modelContractCases = 12;

/** What every `Model` must do, whatever it speaks. */
export function modelContract(name: string, factory: () => Promise<ModelFixture> | ModelFixture): void {
  describe(`the contract of Model: ${name}`, () => {
    let fixture: ModelFixture;
    let model: Model;
    let cases = 0;

    beforeAll(async () => {
      fixture = await factory();
      model = fixture.model;
    });
    afterAll(async () => {
      await fixture.close();
      expect(cases).toBe(modelContractCases);
    });

    const check = (title: string, body: () => Promise<void>) =>
      test(title, async () => {
        cases += 1;
        await body();
      });

    check('delivers nothing before stream() has returned', async () => {
      const returned: boolean[] = [];
      const { ended } = run(model, fixture.call('text'), (_event, stream) => returned.push(stream !== undefined));
      expect(returned).toEqual([]);
      await ended;
      expect(new Set(returned)).toEqual(new Set([true]));
    });

    for (const streamed of [true, false]) {
      const how = streamed ? 'streamed' : 'whole';
      check(`begins with one start and closes with one end (${how})`, async () => {
        const types = (await finished(model, { ...fixture.call('text'), streamed })).map((event) => event.type);
        expect(types[0]).toBe('start');
        expect(types.at(-1)).toBe('end');
        expect(types.filter((type) => type === 'start')).toHaveLength(1);
        expect(types.filter((type) => type === 'end')).toHaveLength(1);
      });

      check(`calls a function by a known name, with JSON arguments (${how})`, async () => {
        const call = fixture.call('tool');
        const events = await finished(model, { ...call, streamed });
        expect(events.at(-1)).toEqual({ type: 'end', reason: 'stop' });
        const made = callsOf(events);
        expect(made.length).toBeGreaterThan(0);
        for (const one of made) {
          expect(call.tools.map((tool) => tool.name)).toContain(one.name);
          expect(JSON.parse(one.arguments)).toBeTypeOf('object');
        }
      });

      check(`reports its usage once, and sums that are right (${how})`, async () => {
        const events = await finished(model, { ...fixture.call('text'), streamed });
        const reports = events.filter((event) => event.type === 'usage');
        expect(reports).toHaveLength(1);
        const usage = reports[0]?.usage;
        expect(usage?.input_tokens).toBeGreaterThan(0);
        expect(usage?.output_tokens).toBeGreaterThan(0);
        expect(usage?.total_tokens).toBe((usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0));
      });
    }

    check('says the same whole as in deltas', async () => {
      const streamed = await finished(model, { ...fixture.call('text'), streamed: true });
      const whole = await finished(model, { ...fixture.call('text'), streamed: false });
      expect(streamed.filter((event) => event.type === 'text').length).toBeGreaterThanOrEqual(3);
      expect(textOf(streamed)).not.toBe('');
      expect(textOf(whole)).toBe(textOf(streamed));
      expect(streamed.at(-1)).toEqual({ type: 'end', reason: 'stop' });
    });

    check('answers in JSON', async () => {
      const events = await finished(model, fixture.call('json'));
      expect(JSON.parse(textOf(events))).toBeTypeOf('object');
    });

    check('is silent after an abort inside an event', async () => {
      const aborted = run(model, fixture.call('text'), (event, stream) => {
        if (event.type === 'text') stream?.abort();
      });
      // Two whole calls come and go meanwhile: what was under way would have arrived.
      await finished(model, fixture.call('text'));
      await finished(model, fixture.call('text'));
      expect(aborted.events.filter((event) => event.type === 'text')).toHaveLength(1);
      expect(aborted.events.filter((event) => event.type === 'end')).toEqual([]);
    });

    check('is silent after an abort at once', async () => {
      const aborted = run(model, fixture.call('text'));
      aborted.stream.abort();
      aborted.stream.abort();
      await finished(model, fixture.call('text'));
      await finished(model, fixture.call('text'));
      expect(aborted.events).toEqual([]);
    });

    check('says all of it through pauses', async () => {
      const expected = textOf(await finished(model, fixture.call('text')));
      const paused = run(model, fixture.call('text'), (event, stream) => {
        if (event.type !== 'text') return;
        stream?.pause();
        setImmediate(() => stream?.resume());
      });
      expect(await paused.ended).toEqual({ type: 'end', reason: 'stop' });
      expect(textOf(paused.events)).toBe(expected);
    });
  });
}
