import { describe, expect, test } from 'vitest';
import { modelCall, run, textOf } from '../contracts/model.ts';
import {
  answerBytes,
  answerSse,
  answerStatus,
  answerText,
  chunk,
  completion,
  cutAfter,
  cutAtOnce,
  endless,
  hang,
  hangAfter,
  refusedUrl,
  sseText,
  textChunks,
} from '../support/upstream.ts';
import { play, type Setting, scene, types, type Weather } from './support.ts';

type Case = Weather;

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
