import { describe, expect, test } from 'vitest';
import type { ModelEvent } from '../../src/model.ts';
import { listUpstreamModels } from '../../src/models/upstream/list-models.ts';
import { callsOf, modelCall, run, textOf } from '../contracts/model.ts';
import {
  answerBytes,
  answerCalls,
  answerSse,
  answerStatus,
  answerText,
  chunk,
  completion,
  cutAfter,
  cutAtOnce,
  endless,
  type Handler,
  hang,
  hangAfter,
  sseText,
  textChunks,
} from '../support/upstream.ts';
import { play, scene, types } from './support.ts';

describe('a request', () => {
  test("carries the server's key, the provider's headers and the servers passed", async () => {
    await using it = await scene(answerText('ok'), { headers: { 'X-Team': 'blue' } });
    await play(it.model, { credential: 'the-clients', via: ['one', 'two'] });
    const { headers, path, method } = await it.upstream.request();
    expect({ path, method }).toEqual({ path: '/v1/chat/completions', method: 'POST' });
    expect(headers['authorization']).toBe('Bearer sk-the-servers-own-key');
    expect(headers['x-team']).toBe('blue');
    expect(headers['x-open-responses-via']).toBe('one,two');
    expect(headers['content-type']).toBe('application/json');
    expect(JSON.stringify(headers)).not.toContain('the-clients');
  });

  test("carries the client's credential where the provider has no key, and none where there is none", async () => {
    await using it = await scene(answerText('ok'), { apiKey: undefined });
    await play(it.model, { credential: 'the-clients' });
    await play(it.model);
    expect(it.upstream.requests.map(({ headers }) => headers['authorization'])).toEqual([
      'Bearer the-clients',
      undefined,
    ]);
    expect(it.upstream.requests[0]?.headers['x-open-responses-via']).toBeUndefined();
  });

  test('keeps the query of a base URL and sends its credentials as Basic', async () => {
    await using it = await scene(answerText('ok'), { apiKey: undefined });
    const url = new URL(it.upstream.url);
    url.username = 'me';
    url.password = 'secret-word';
    await using other = await scene(hang, { apiKey: undefined, url: `${url.href}/?api-version=7` });
    await play(other.model, { credential: 'the-clients' });
    const { path, headers } = await it.upstream.request();
    expect(path).toBe('/v1/chat/completions?api-version=7');
    expect(headers['authorization']).toBe(`Basic ${Buffer.from('me:secret-word').toString('base64')}`);
  });

  test('that nobody watches is not streamed', async () => {
    await using it = await scene(answerText('Hello there'));
    const { events } = await play(it.model, { streamed: false });
    expect((await it.upstream.request()).body.stream).toBeUndefined();
    expect(types(events)).toEqual(['start', 'model', 'text', 'finish', 'usage', 'end']);
  });
});

describe('a connection', () => {
  test('serves again after a stream', async () => {
    await using it = await scene(answerText('Hello there'), { upstream: { maxConnections: 1 } });
    const first = await play(it.model);
    const second = await play(it.model);
    expect([first.end, second.end].map(({ reason }) => reason)).toEqual(['stop', 'stop']);
  });

  test('is closed by an abort, whenever it comes', async () => {
    const chunks = textChunks('one two three').slice(0, 3);
    const cases: [string, Handler, ModelEvent['type'] | undefined][] = [
      ['before headers', hang, undefined],
      ['at the start', hangAfter([]), 'start'],
      ['in the middle', hangAfter(chunks), 'text'],
      ['in a flood', endless, 'text'],
    ];
    for (const [when, handler, at] of cases) {
      await using it = await scene(handler);
      const running = run(it.model, modelCall(), (event, stream) => {
        if (event.type === at) stream?.abort();
      });
      const request = await it.upstream.request();
      if (at === undefined) running.stream.abort();
      await request.gone;
      expect(types(running.events).at(-1), when).toBe(at);
    }
  });

  test('is closed when the sink throws, which is logged and nothing more is said', async () => {
    await using it = await scene(endless);
    const { events } = run(it.model, modelCall(), (event) => {
      if (event.type === 'text') throw new Error('a defect');
    });
    await (await it.upstream.request()).gone;
    expect(types(events)).toEqual(['start', 'model', 'text']);
    expect(it.warnings).toEqual(['the sink of a model call threw']);
  });

  test('is not read while its call is paused, and is again when resumed', async () => {
    let written = () => 0;
    const handlers: Handler[] = [
      (reply, request) => {
        written = () => reply.written;
        return endless(reply, request);
      },
      answerText('meanwhile '.repeat(500)),
    ];
    await using it = await scene(handlers);
    const { promise: paused, resolve: tellPaused } = Promise.withResolvers<void>();
    const { promise: resumed, resolve: tellResumed } = Promise.withResolvers<void>();
    let pausedAt = 0;
    const flood = run(it.model, modelCall(), (event, stream) => {
      if (event.type !== 'text') return;
      if (pausedAt === 0) {
        pausedAt = flood.events.length;
        stream?.pause();
        tellPaused();
      } else if (flood.events.length > 10_000) {
        stream?.abort();
        tellResumed();
      }
    });
    await paused;
    for (let turn = 0; turn < 50; turn += 1) await play(it.model);
    // One read of at most 64 KiB may have been under way; the rest fills the buffers between the two, and stops there.
    expect(flood.events.length - pausedAt).toBeLessThan(1_000);
    const filled = written();
    for (let turn = 0; turn < 50; turn += 1) await play(it.model);
    expect(flood.events.length - pausedAt).toBeLessThan(1_000);
    expect(written() - filled).toBeLessThan(16 * 1024 * 1024);
    flood.stream.resume();
    await resumed;
    expect(flood.events.length).toBeGreaterThan(10_000);
  });
});

const text = textChunks('one two three');

describe('an answer', () => {
  test('survives every way that UTF-8 and events are cut on the wire', async () => {
    const said = 'Grüße 👩‍🚀 日本語 \u2028 done';
    const body = Buffer.from(sseText(textChunks(said)));
    for (const size of [1, 2, 3, 7, 64]) {
      await using it = await scene(answerBytes(body, { 'content-type': 'text/event-stream' }, size));
      const { events, end } = await play(it.model);
      expect(end.reason).toBe('stop');
      expect(textOf(events)).toBe(said);
    }
  });

  test('may come whole though a stream was asked for, and as a stream though it was not', async () => {
    await using whole = await scene((reply) => reply.json(completion({ content: 'Hello' })));
    const one = await play(whole.model);
    await using stream = await scene(answerSse(textChunks('Hello there')));
    const two = await play(stream.model, { streamed: false });
    expect([textOf(one.events), textOf(two.events)]).toEqual(['Hello', 'Hello there']);
    expect([one.end.reason, two.end.reason]).toEqual(['stop', 'stop']);
  });

  test('may come as a stream of no declared type', async () => {
    await using it = await scene(answerBytes(sseText(textChunks('Hello')), { 'content-type': 'text/plain' }));
    expect(textOf((await play(it.model)).events)).toBe('Hello');
  });

  test('that is complete needs no usage, no [DONE] and no proper end', async () => {
    await using it = await scene(cutAfter(text.slice(0, -1)));
    const { events, end } = await play(it.model);
    expect(end).toEqual({ type: 'end', reason: 'stop' });
    expect(types(events)).not.toContain('usage');
  });

  test('ends with [DONE], whatever the connection does next', async () => {
    await using it = await scene(async (reply) => {
      reply.open();
      await reply.bytes(sseText(text));
      await reply.endless(chunk({ content: 'more' }));
    });
    const { events, end } = await play(it.model);
    expect(end.reason).toBe('stop');
    expect(textOf(events)).toBe('one two three');
    await (await it.upstream.request()).gone;
  });

  test('brings calls, one after the other or interleaved', async () => {
    await using it = await scene(
      answerCalls(
        [
          { id: 'call_a', name: 'get_weather', arguments: '{"city":"Bern"}' },
          { id: 'call_b', name: 'get_time', arguments: '' },
        ],
        'Let me see.',
      ),
    );
    for (const streamed of [true, false]) {
      const { events, end } = await play(it.model, { streamed });
      expect(end).toEqual({ type: 'end', reason: 'stop' });
      expect(textOf(events)).toBe('Let me see.');
      expect(callsOf(events)).toEqual([
        { id: 'call_a', name: 'get_weather', arguments: '{"city":"Bern"}' },
        { id: 'call_b', name: 'get_time', arguments: '{}' },
      ]);
    }
  });
});

describe('the list of models', () => {
  const endlessList: Handler = (reply) => {
    reply.open();
    return reply.endless('x'.repeat(10_000));
  };

  async function list(handler: Handler, credential?: string) {
    await using it = await scene(handler);
    const provider = { name: 'acme', baseUrl: it.upstream.url, headers: {} };
    const models = await listUpstreamModels({ provider, dispatcher: it.client.dispatcher, credential });
    return { models, request: await it.upstream.request() };
  }

  test("is asked for with the client's credential", async () => {
    const { models, request } = await list(answerStatus(200, { data: [{ id: 'a' }, { id: 'b/c' }, {}, null] }), 'mine');
    expect(models).toEqual({ status: 200, ids: ['a', 'b/c'] });
    expect(request).toMatchObject({ method: 'GET', path: '/v1/models', headers: { authorization: 'Bearer mine' } });
  });

  test('is empty where the credential is refused', async () => {
    expect((await list(answerStatus(401, { error: { message: 'no' } }))).models).toEqual({ status: 401, ids: [] });
  });

  test.each([
    ['a page', answerStatus(200, '<html>')],
    ['a flood', endlessList],
    ['a broken connection', cutAtOnce],
  ])('fails on %s', async (_name, handler) => {
    await expect(list(handler)).rejects.toMatchObject({ name: 'ApiError' });
  });
});
