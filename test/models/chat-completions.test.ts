import { describe, expect, test } from 'vitest';
import type { Model, ModelCall, ModelEvent } from '../../src/model.ts';
import { listUpstreamModels } from '../../src/models/chat-completions/list-models.ts';
import { callsOf, modelCall, modelContract, run, textOf, userSays } from '../contracts/model.ts';
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
  refusedUrl,
  sseText,
  textChunks,
} from '../support/upstream.ts';
import { profileOf, type Setting, scene } from './support.ts';

const weather: ModelCall['tools'][number] = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

/** Answers by what the request asks for. */
const playScenario: Handler = (reply, request) => {
  if (request.body.tools !== undefined) {
    answerCalls([{ id: 'call_1', name: 'get_weather', arguments: '{"city":"Bern"}' }])(reply, request);
  } else if (request.body.response_format !== undefined) {
    answerText('{"answer": 42}')(reply, request);
  } else {
    answerText('Grüezi, this is an answer of several words.')(reply, request);
  }
};

for (const profile of ['openai', 'ollama', 'generic']) {
  modelContract(`chat completions, profile ${profile}`, async () => {
    const { model, close } = await scene(playScenario, { profile });
    const base = modelCall({ items: [userSays('Hello')] });
    const calls = {
      text: base,
      tool: { ...base, tools: [weather] },
      json: { ...base, format: { type: 'json_object' } },
    } as const;
    return { model, call: (scenario) => calls[scenario], close };
  });
}

async function play(model: Model, fields: Partial<ModelCall> = {}) {
  const { events, ended } = run(model, modelCall({ items: [userSays('Hello')], ...fields }));
  const end = await ended;
  return { events, end, error: end.reason === 'error' ? end.error : undefined };
}

const types = (events: readonly ModelEvent[]) => events.map((event) => event.type);

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
    expect(types(events)).toEqual(['start', 'model', 'text', 'usage', 'end']);
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

type Case = {
  readonly handler: Handler;
  readonly setting?: Setting;
  readonly call?: Partial<ModelCall>;
  readonly error: {
    kind: string;
    code?: string | null;
    param?: string | null;
    retryAfterMs?: number;
    message?: RegExp;
  };
  /** The upstream had accepted the call. */
  readonly started: boolean;
};

const openaiError = (message: string, more: object = {}) => ({
  error: { message, type: 'x', param: null, code: null, ...more },
});
const ownKey: Setting = { apiKey: undefined };
const credential = { credential: 'sk-the-clients-own' };
const leak = openaiError('Incorrect API key provided: sk-the-servers-own-key');
const text = textChunks('one two three');
const html = '<!doctype html><h1>Bad gateway</h1>';
const toolChunk = (call: object) => chunk({ tool_calls: [{ index: 0, id: 'call_1', type: 'function', ...call }] });

/** Everything that can go wrong, over real sockets. */
const badWeather: Record<string, Case> = {
  '401 of our key': {
    handler: answerStatus(401, leak),
    error: {
      kind: 'upstream_failed',
      code: null,
      message: /^Provider `acme` refused this server's credentials \(401\)\.$/,
    },
    started: false,
  },
  '401 of our key, whatever the client brings': {
    handler: answerStatus(401, leak),
    call: credential,
    error: { kind: 'upstream_failed' },
    started: false,
  },
  "401 of the client's key": {
    handler: answerStatus(401, openaiError('Incorrect API key provided: sk-the-***')),
    setting: ownKey,
    call: credential,
    error: { kind: 'unauthorized', code: 'invalid_api_key' },
    started: false,
  },
  '403 of our key': { handler: answerStatus(403, leak), error: { kind: 'upstream_failed' }, started: false },
  "403 of the client's key": {
    handler: answerStatus(403, openaiError('no')),
    setting: ownKey,
    call: credential,
    error: { kind: 'forbidden', code: null },
    started: false,
  },
  '404': {
    handler: answerStatus(404, { error: 'model "test-model" not found, try pulling it first' }),
    error: {
      kind: 'invalid_request',
      code: 'model_not_found',
      param: 'model',
      message: /`test-model`.*try pulling it/,
    },
    started: false,
  },
  '400': {
    handler: answerStatus(400, openaiError('Too hot.', { param: 'max_tokens', code: 'invalid_value' })),
    error: { kind: 'invalid_request', code: 'invalid_value', param: 'max_output_tokens', message: /^Too hot\.$/ },
    started: false,
  },
  '400 that shows our key': {
    handler: answerStatus(400, openaiError('bad sk-the-servers-own-key!')),
    error: { kind: 'invalid_request', message: /^bad \*\*\*!$/ },
    started: false,
  },
  '400 with a very long message': {
    handler: answerStatus(400, openaiError('x'.repeat(50_000))),
    error: { kind: 'invalid_request', message: /^x{1000}…$/ },
    started: false,
  },
  '422 in words of another kind': {
    handler: answerStatus(422, { detail: 'no such field' }),
    error: { kind: 'invalid_request', message: /^no such field$/ },
    started: false,
  },
  'context overflow by its code': {
    handler: answerStatus(400, openaiError('Too long.', { code: 'context_length_exceeded' })),
    error: { kind: 'invalid_request', code: 'context_length_exceeded', param: 'input', message: /^Too long\.$/ },
    started: false,
  },
  'context overflow by its words': {
    handler: answerStatus(400, openaiError("This model's maximum context length is 8192 tokens.")),
    error: { kind: 'invalid_request', code: 'context_length_exceeded', param: 'input' },
    started: false,
  },
  '408': { handler: answerStatus(408, 'slow'), error: { kind: 'upstream_timeout' }, started: false },
  '429 with Retry-After': {
    handler: answerStatus(429, openaiError('Slow down, org-12345.'), { 'retry-after': '7' }),
    error: {
      kind: 'rate_limited',
      code: 'rate_limit_exceeded',
      retryAfterMs: 7_000,
      message: /^Provider `acme` asks to slow down \(429\)\.$/,
    },
    started: false,
  },
  '429 with a date': {
    handler: answerStatus(429, '', { 'retry-after': 'Thu, 01 Jan 2026 00:01:00 GMT' }),
    error: { kind: 'rate_limited', retryAfterMs: 60_000 },
    started: false,
  },
  '500': {
    handler: answerStatus(500, openaiError('out of memory')),
    error: { kind: 'upstream_failed', code: null, message: /^Provider `acme` failed \(500\): out of memory$/ },
    started: false,
  },
  '500 with a page': {
    handler: answerStatus(500, html, { 'content-type': 'text/html' }),
    error: { kind: 'upstream_failed', message: /^Provider `acme` failed \(500\)\.$/ },
    started: false,
  },
  '500 with an endless body': {
    handler: (reply) => {
      reply.open(500);
      return reply.endless('x'.repeat(1_000));
    },
    error: { kind: 'upstream_failed' },
    started: false,
  },
  '500 with half a body': {
    handler: (reply) => {
      reply.open(500);
      reply.response.write('{"error":', () => reply.cut());
    },
    error: { kind: 'upstream_failed' },
    started: false,
  },
  '502': { handler: answerStatus(502), error: { kind: 'upstream_failed' }, started: false },
  '503': { handler: answerStatus(503), error: { kind: 'upstream_unavailable' }, started: false },
  '504': { handler: answerStatus(504), error: { kind: 'upstream_timeout' }, started: false },
  '508': { handler: answerStatus(508), error: { kind: 'loop' }, started: false },
  'a redirect': {
    handler: answerStatus(302, '', { location: 'http://127.0.0.1:1/' }),
    error: { kind: 'upstream_failed', message: /redirected/ },
    started: false,
  },
  'a page': {
    handler: answerStatus(200, html, { 'content-type': 'text/html; charset=utf-8' }),
    error: { kind: 'upstream_failed', message: /web page/ },
    started: false,
  },
  'a page that calls itself text': {
    handler: answerStatus(200, html),
    error: { kind: 'upstream_failed', message: /web page/ },
    started: true,
  },
  'a compressed body': {
    handler: answerBytes('x', { 'content-type': 'text/event-stream', 'content-encoding': 'br' } as {
      'content-type': string;
    }),
    error: { kind: 'upstream_failed', message: /compressed/ },
    started: false,
  },
  'a connection that breaks before headers': {
    handler: cutAtOnce,
    error: { kind: 'upstream_unavailable', message: /could not be reached/ },
    started: false,
  },
  'something that is not HTTP': {
    handler: (reply) => {
      reply.response.socket?.end('SSH-2.0-OpenSSH\r\n\r\n');
    },
    error: { kind: 'upstream_failed', message: /not HTTP/ },
    started: false,
  },
  'headers that are late': {
    handler: hang,
    setting: { upstream: { headersTimeoutMs: 50 } },
    error: { kind: 'upstream_timeout', message: /did not answer in time/ },
    started: false,
  },
  'silence in the middle': {
    handler: hangAfter(text.slice(0, 3)),
    setting: { upstream: { idleTimeoutMs: 50 } },
    error: { kind: 'upstream_timeout', message: /fell silent/ },
    started: true,
  },
  'an endless stream, by time': {
    handler: endless,
    setting: { upstream: { timeoutMs: 100 } },
    error: { kind: 'upstream_timeout', message: /within 100 ms/ },
    started: true,
  },
  'an endless stream, by size': {
    handler: endless,
    setting: { upstream: { maxResponseBytes: 100_000 } },
    error: { kind: 'upstream_failed', message: /more than 100000 bytes/ },
    started: true,
  },
  'an endless body': {
    handler: (reply) => {
      reply.open(200, { 'content-type': 'application/json' });
      reply.response.write('{"a":"');
      return reply.endless('x'.repeat(1_000));
    },
    setting: { upstream: { maxResponseBytes: 100_000 } },
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /more than 100000 bytes/ },
    started: true,
  },
  'no answer to a whole call, by time': {
    handler: hang,
    setting: { upstream: { timeoutMs: 50 } },
    call: { streamed: false },
    error: { kind: 'upstream_timeout' },
    started: false,
  },
  'a stream that is cut': {
    handler: answerBytes(
      text
        .slice(0, 3)
        .map((data) => `data: ${JSON.stringify(data)}\n\n`)
        .join(''),
    ),
    error: { kind: 'upstream_failed', message: /broke off/ },
    started: true,
  },
  'a stream cut within an event': {
    handler: answerBytes(sseText(text).slice(0, 300)),
    error: { kind: 'upstream_failed', message: /broke off/ },
    started: true,
  },
  'death in the middle': {
    handler: cutAfter(text.slice(0, 3)),
    error: { kind: 'upstream_failed', message: /broke off/ },
    started: true,
  },
  'an event that is not JSON': {
    handler: answerSse([text[0], '{"choices": [', text[1]]),
    error: { kind: 'upstream_failed', message: /not JSON/ },
    started: true,
  },
  'an event that is no object': {
    handler: answerSse(['17']),
    error: { kind: 'upstream_failed', message: /not an object/ },
    started: true,
  },
  'a body that is not JSON': {
    handler: answerStatus(200, '{"choices":[', { 'content-type': 'application/json' }),
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /not JSON/ },
    started: true,
  },
  'an empty stream': {
    handler: answerSse([]),
    error: { kind: 'upstream_failed', message: /empty answer/ },
    started: true,
  },
  'an empty body': {
    handler: answerStatus(200, ''),
    error: { kind: 'upstream_failed', message: /empty answer/ },
    started: true,
  },
  'no choices': {
    handler: answerStatus(200, { ...completion({}), choices: [] }),
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /empty answer/ },
    started: true,
  },
  'arguments that are not JSON': {
    handler: answerSse([
      toolChunk({ function: { name: 'get_weather', arguments: '{"city": Bern}' } }),
      chunk({}, 'tool_calls'),
    ]),
    error: { kind: 'upstream_failed', message: /`get_weather`.*not valid JSON/ },
    started: true,
  },
  'a call without a name': {
    handler: answerSse([toolChunk({ function: { arguments: '{}' } }), chunk({}, 'tool_calls')]),
    error: { kind: 'upstream_failed', message: /without naming it/ },
    started: true,
  },
  'an error in the stream': {
    handler: answerSse([text[0], openaiError('The server had an error, sk-the-servers-own-key')]),
    error: { kind: 'upstream_failed', message: /^Provider `acme` reported an error: The server had an error, \*\*\*$/ },
    started: true,
  },
  'an error in the stream, with a status': {
    handler: answerSse([text[0], { error: { code: 429, message: 'Rate limited' } }]),
    error: { kind: 'rate_limited', code: 'rate_limit_exceeded' },
    started: true,
  },
  'an overflow in the stream': {
    handler: answerSse([{ error: { message: 'the request exceeds the available context size' } }]),
    error: { kind: 'invalid_request', code: 'context_length_exceeded' },
    started: true,
  },
  'a finish reason that is an error': {
    handler: answerSse([text[1], chunk({}, 'error')]),
    error: { kind: 'upstream_failed', message: /reported an error/ },
    started: true,
  },
  'an error in a whole body': {
    handler: answerStatus(200, openaiError('no')),
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /reported an error: no/ },
    started: true,
  },
};

describe('bad weather', () => {
  for (const [name, { handler, setting, call, error: expected, started }] of Object.entries(badWeather)) {
    test(name, async () => {
      await using it = await scene(handler, setting);
      const { events, error } = await play(it.model, call);
      expect(types(events).includes('start')).toBe(started);
      expect(types(events).filter((type) => type === 'end')).toEqual(['end']);
      const { message, ...fields } = expected;
      expect(error).toMatchObject(fields);
      if (message !== undefined) expect(error?.message).toMatch(message);
      expect(JSON.stringify(error?.body())).not.toMatch(/sk-the-servers|127\.0\.0\.1/);
      expect(it.upstream.requests).toHaveLength(1);
    });
  }

  test('a port that refuses', async () => {
    await using it = await scene(hang, { url: await refusedUrl(), upstream: { maxRetries: 2 } });
    const { events, error } = await play(it.model);
    expect(types(events)).toEqual(['end']);
    expect(error).toMatchObject({ kind: 'upstream_unavailable' });
    expect(it.delays).toEqual([188, 375]);
  });

  test('a name that does not exist', async () => {
    await using it = await scene(hang, { url: 'http://nowhere.invalid/v1' });
    expect((await play(it.model)).error).toMatchObject({ kind: 'upstream_unavailable' });
  });

  test('a credential that no header can hold, told after stream() has returned', async () => {
    await using it = await scene(hang, { apiKey: undefined });
    const { events, ended, stream } = run(it.model, modelCall({ credential: 'a\nb' }));
    expect(events).toEqual([]);
    expect(await ended).toMatchObject({ reason: 'error', error: { kind: 'upstream_failed' } });
    stream.abort();
    const silent = run(it.model, modelCall({ credential: 'a\nb' }));
    silent.stream.abort();
    await play(it.model, { credential: 'a\nb' });
    expect(silent.events).toEqual([]);
  });

  test('a client that has been closed', async () => {
    await using it = await scene(hang);
    await it.client.close();
    expect((await play(it.model)).error).toMatchObject({ kind: 'unavailable' });
  });
});

describe('a retry', () => {
  const retries = { upstream: { maxRetries: 2 } };

  test('gets through a short spell', async () => {
    await using it = await scene([answerStatus(503), cutAtOnce, answerText('Hello there')], retries);
    const { events, end } = await play(it.model);
    expect(end.reason).toBe('stop');
    expect(textOf(events)).toBe('Hello there');
    expect(types(events).filter((type) => type === 'start')).toHaveLength(1);
    expect(it.delays).toEqual([188, 375]);
    expect(new Set(it.upstream.requests.map(({ raw }) => raw)).size).toBe(1);
    expect(it.warnings).toHaveLength(2);
  });

  test('gives up at the limit', async () => {
    await using it = await scene(answerStatus(500), retries);
    expect((await play(it.model)).error).toMatchObject({ kind: 'upstream_failed' });
    expect(it.upstream.requests).toHaveLength(3);
  });

  test.each([
    ['a short Retry-After is obeyed', 429, { 'retry-after': '1' }, [1_000, 1_000], 3],
    ['and one in milliseconds before it', 429, { 'retry-after-ms': '20', 'retry-after': '9' }, [20, 20], 3],
    ["a long one is the client's to wait for", 429, { 'retry-after': '3' }, [], 1],
    ['an upstream that says no is believed', 503, { 'x-should-retry': 'false' }, [], 1],
    ['what will not pass is not tried again', 400, {}, [], 1],
  ] as [string, number, Record<string, string>, number[], number][])(
    '%s',
    async (_name, status, headers, delays, requests) => {
      await using it = await scene(answerStatus(status, '', headers), retries);
      await play(it.model);
      expect(it.delays).toEqual(delays);
      expect(it.upstream.requests).toHaveLength(requests);
    },
  );

  test('never follows once an answer has begun', async () => {
    await using it = await scene([cutAfter(text.slice(0, 2)), answerText('again')], retries);
    expect((await play(it.model)).error).toMatchObject({ kind: 'upstream_failed' });
    expect(it.upstream.requests).toHaveLength(1);
  });

  test('is called off by an abort', async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const onBackoff = () =>
      queueMicrotask(() => {
        waiting.stream.abort();
        resolve();
      });
    await using it = await scene([answerStatus(503), answerText('again')], { ...retries, onBackoff });
    const waiting = run(it.model, modelCall());
    await aborted;
    await play(it.model);
    expect(waiting.events).toEqual([]);
    expect(it.upstream.requests).toHaveLength(2);
  });
});

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
    expect((await list(answerStatus(401, leak))).models).toEqual({ status: 401, ids: [] });
  });

  test.each([
    ['a page', answerStatus(200, html)],
    ['a flood', endlessList],
    ['a broken connection', cutAtOnce],
  ])('fails on %s', async (_name, handler) => {
    await expect(list(handler)).rejects.toMatchObject({ name: 'ApiError' });
  });
});

test('profiles differ by data only', () => {
  expect(profileOf('openai')).toMatchObject({ remote: true, systemRole: 'developer' });
  expect(profileOf('ollama')).toMatchObject({ remote: false, baseUrl: 'http://127.0.0.1:11434/v1' });
  expect(profileOf('generic').baseUrl).toBeUndefined();
});
