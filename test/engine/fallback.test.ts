import { describe, expect, it } from 'vitest';
import type { InputItem } from '../../src/api/items.ts';
import { ApiError, type ErrorKind } from '../../src/errors.ts';
import type { ModelEvent, ResolvedModel } from '../../src/model.ts';
import type { Json } from '../support/harness.ts';
import { checkEvents } from '../support/wire-schemas.ts';
import { caller, hello, Puppet, stage, start, stop } from './stage.ts';

const asker = { ...caller, credential: 'client-key' };

function ended(kind: ErrorKind, code?: string): ModelEvent {
  return { type: 'end', reason: 'error', error: new ApiError(kind, 'it broke', { code }) };
}

/** Three models, of which the next is asked where the one before failed. */
function relay() {
  const models = [new Puppet(), new Puppet(), new Puppet()] as const;
  const [a, b, c] = models;
  const told: object[] = [];
  const resolved = (model: Puppet, name: string, fallback?: ResolvedModel): ResolvedModel => {
    return { model, provider: name, upstreamName: `${name}-1`, takesCredential: name === 'a', fallback };
  };
  const chain = resolved(a, 'a', resolved(b, 'b', resolved(c, 'c')));
  const set = stage(() => ({}), {
    catalog: { resolve: () => chain },
    onFallback: (error, context) => void told.push({ message: error.message, ...context }),
  });
  return { ...set, a, b, c, told };
}

describe('a fallback', () => {
  it.each<[ErrorKind, string?]>([
    ['upstream_failed'],
    ['upstream_unavailable'],
    ['upstream_timeout'],
    ['rate_limited'],
    ['invalid_request', 'model_not_found'],
    ['invalid_request', 'context_length_exceeded'],
  ])('is asked after %s %s', async (kind, code) => {
    const { engine, a, b, c, told } = relay();
    const run = engine.start({ model: 'm', input: 'x' }, asker);
    await a.say(ended(kind, code));
    await b.say(start, ended('upstream_failed'));
    await c.say(start, hello, stop);
    const response = JSON.parse((await run.result).json) as Json;
    expect(response).toMatchObject({ status: 'completed', model: 'c-1' });
    expect(told).toMatchObject([
      { from: 'a', to: 'b', responseId: run.responseId },
      { from: 'b', to: 'c' },
    ]);
    expect([...a.calls, ...b.calls, ...c.calls].map((call) => [call.model, call.credential])).toEqual([
      ['a-1', 'client-key'],
      ['b-1', undefined],
      ['c-1', undefined],
    ]);
  });

  it.each<[ErrorKind, string?]>([
    ['unauthorized', 'invalid_api_key'],
    ['forbidden'],
    ['invalid_request', 'unsupported_value'],
    ['loop'],
    ['unavailable'],
  ])('is not asked after %s', async (kind, code) => {
    const { engine, a, b, told } = relay();
    const run = engine.start({ model: 'm', input: 'x' }, asker);
    await a.say(ended(kind, code));
    await expect(run.result).rejects.toMatchObject({ kind });
    expect(b.calls).toEqual([]);
    expect(told).toEqual([]);
  });

  it('is not asked once something was said', async () => {
    const { engine, a, b, events, watcher } = relay();
    const run = engine.start({ model: 'm', input: 'x' }, asker, watcher);
    await a.say(start, hello, ended('upstream_failed'));
    expect((await run.result).status).toBe('failed');
    checkEvents(events);
    expect(b.calls).toEqual([]);
  });

  it('takes over a stream that has begun with nothing said', async () => {
    const { engine, a, b, events, watcher } = relay();
    const run = engine.start({ model: 'm', input: 'x' }, asker, watcher);
    await a.say(start, { type: 'model', name: 'a-reported' }, ended('upstream_failed'));
    await b.say(start, hello, stop);
    expect((await run.result).status).toBe('completed');
    checkEvents(events);
    expect(events.at(-1)?.data.response.model).toBe('b-1');
  });

  it('fails with the last one’s error', async () => {
    const { engine, a, b, c } = relay();
    const run = engine.start({ model: 'm', input: 'x' }, asker);
    await a.say(ended('upstream_failed'));
    await b.say(ended('upstream_timeout'));
    await c.say(ended('rate_limited'));
    await expect(run.result).rejects.toMatchObject({ kind: 'rate_limited' });
  });

  it('passes over a model that can’t do what is asked', async () => {
    const { engine, a, b, c } = relay();
    Object.assign(b, { features: { ...b.features, images: 'none' } });
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AA' } as const;
    const input: InputItem[] = [{ type: 'message', role: 'user', content: [image] }];
    const run = engine.start({ model: 'm', input }, asker);
    await a.say(ended('upstream_failed'));
    await c.say(start, hello, stop);
    expect((await run.result).status).toBe('completed');
    expect(b.calls).toEqual([]);
  });

  it('is aborted like the first, when its client leaves', async () => {
    const { engine, a, b } = relay();
    const run = engine.start({ model: 'm', input: 'x' }, asker);
    await a.say(ended('upstream_failed'));
    run.clientGone();
    await b.aborted.promise;
    expect((await run.result).status).toBe('cancelled');
  });
});

function long(count: number): InputItem[] {
  const content = 'ten letters';
  return Array.from({ length: count }, () => ({ type: 'message', role: 'user', content }));
}

describe('truncation: auto', () => {
  const overflow = ended('invalid_request', 'context_length_exceeded');

  it('offers less and less until it fits, of the same model', async () => {
    const { engine, a, b } = relay();
    const run = engine.start({ model: 'm', input: long(20), truncation: 'auto' }, asker);
    await a.say(overflow);
    await a.say(overflow);
    await a.say(start, hello, stop);
    const response = JSON.parse((await run.result).json) as Json;
    expect(response).toMatchObject({ status: 'completed', truncation: 'auto' });
    const counts = a.calls.map((call) => call.items.length);
    expect(counts).toEqual([20, 14, 9]);
    expect(a.calls.map((call) => call.items.at(-1))).toEqual(a.calls.map(() => a.calls[0]?.items.at(-1)));
    expect(b.calls).toEqual([]);
  });

  it('is not done unasked', async () => {
    const { engine, a, b } = relay();
    const run = engine.start({ model: 'm', input: long(20) }, asker);
    await a.say(overflow);
    await b.say(ended('invalid_request', 'unsupported_value'));
    await expect(run.result).rejects.toMatchObject({ code: 'unsupported_value' });
    expect(a.calls).toHaveLength(1);
  });
});
