import { describe, expect, test } from 'vitest';
import type { ModelEvent } from '../../src/model.ts';
import { modelCall, run, textOf } from '../contracts/model.ts';
import {
  answerEvents,
  answerResponseText,
  message,
  responseEvents,
  responsesSse,
} from '../support/responses-upstream.ts';
import {
  answerBytes,
  answerStatus,
  cutAfter,
  cutAtOnce,
  type Handler,
  hang,
  hangAfter,
  refusedUrl,
} from '../support/upstream.ts';
import { type ResponsesSetting, responsesScene } from './responses-support.ts';
import { play, types, type Weather } from './support.ts';

type Case = Weather<ResponsesSetting>;

const openaiError = (message_: string, more: object = {}) => ({
  error: { message: message_, type: 'invalid_request_error', param: null, code: null, ...more },
});
const ownKey: ResponsesSetting = { apiKey: undefined };
const credential = { credential: 'sk-the-clients-own' };
const events = responseEvents([message('one two three')]);
const begun = events.slice(0, 5);
const failed = (error: object) => ({ type: 'response.failed', response: { status: 'failed', error } });

const endless: Handler = (reply) => {
  reply.open();
  return reply.endless({ type: 'response.output_text.delta', item_id: 'm', output_index: 0, delta: 'again ' });
};

/** What can go wrong, over real sockets: R14, and answers that break. */
const badWeather: Record<string, Case> = {
  '401 of our key': {
    handler: answerStatus(401, openaiError('Incorrect API key provided: sk-the-servers-own-key')),
    error: {
      kind: 'upstream_failed',
      code: null,
      message: /^Provider `acme` refused this server's credentials \(401\)\.$/,
    },
    started: false,
  },
  "401 of the client's key": {
    handler: answerStatus(401, openaiError('no')),
    setting: ownKey,
    call: credential,
    error: { kind: 'unauthorized', code: 'invalid_api_key' },
    started: false,
  },
  "403 of the client's key": {
    handler: answerStatus(403, openaiError('no')),
    setting: ownKey,
    call: credential,
    error: { kind: 'forbidden', code: null },
    started: false,
  },
  '404': {
    handler: answerStatus(404, openaiError('no such model')),
    error: { kind: 'invalid_request', code: 'model_not_found', param: 'model', message: /`test-model`: no such model/ },
    started: false,
  },
  '400 under the names of the fields as they are': {
    handler: answerStatus(400, openaiError('Bad.', { param: 'text.format.schema', code: 'invalid_json_schema' })),
    error: { kind: 'invalid_request', code: 'invalid_json_schema', param: 'text.format.schema', message: /^Bad\.$/ },
    started: false,
  },
  '400 that shows our key': {
    handler: answerStatus(400, openaiError('bad sk-the-servers-own-key!')),
    error: { kind: 'invalid_request', message: /^bad \*\*\*!$/ },
    started: false,
  },
  'context overflow by its code': {
    handler: answerStatus(400, openaiError('Too long.', { code: 'context_length_exceeded' })),
    error: { kind: 'invalid_request', code: 'context_length_exceeded', param: 'input' },
    started: false,
  },
  'context overflow by its words': {
    handler: answerStatus(400, openaiError('Your input exceeds the context window of this model.')),
    error: { kind: 'invalid_request', code: 'context_length_exceeded', param: 'input' },
    started: false,
  },
  'errors in a list': {
    handler: answerStatus(400, [openaiError('In a list.')]),
    error: { kind: 'invalid_request', message: /^In a list\.$/ },
    started: false,
  },
  '408': { handler: answerStatus(408), error: { kind: 'upstream_timeout' }, started: false },
  '429 with Retry-After': {
    handler: answerStatus(429, openaiError('Slow down, org-12345.'), { 'retry-after': '7' }),
    error: { kind: 'rate_limited', code: 'rate_limit_exceeded', retryAfterMs: 7_000, message: /\(429\)\.$/ },
    started: false,
  },
  '500': { handler: answerStatus(500, openaiError('oh')), error: { kind: 'upstream_failed' }, started: false },
  '503': { handler: answerStatus(503), error: { kind: 'upstream_unavailable' }, started: false },
  '504': { handler: answerStatus(504), error: { kind: 'upstream_timeout' }, started: false },
  '508': { handler: answerStatus(508), error: { kind: 'loop' }, started: false },
  'a page': {
    handler: answerStatus(200, '<!doctype html>', { 'content-type': 'text/html' }),
    error: { kind: 'upstream_failed', message: /web page/ },
    started: false,
  },
  'a connection that breaks before headers': {
    handler: cutAtOnce,
    error: { kind: 'upstream_unavailable' },
    started: false,
  },
  'headers that are late': {
    handler: hang,
    setting: { upstream: { headersTimeoutMs: 50 } },
    error: { kind: 'upstream_timeout' },
    started: false,
  },
  'silence in the middle': {
    handler: hangAfter(begun),
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
  'a stream without its end': {
    handler: answerEvents(events.slice(0, -1)),
    error: { kind: 'upstream_failed', message: /broke off/ },
    started: true,
  },
  'a stream cut within its last event': {
    handler: answerBytes(responsesSse(events).slice(0, -40)),
    error: { kind: 'upstream_failed', message: /broke off/ },
    started: true,
  },
  'death in the middle': {
    handler: cutAfter(begun),
    error: { kind: 'upstream_failed', message: /broke off/ },
    started: true,
  },
  'half a body': {
    handler: answerBytes('{"object":"response","output":[', { 'content-type': 'application/json' }),
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /not JSON/ },
    started: true,
  },
  'another API': {
    handler: answerStatus(200, { object: 'chat.completion', choices: [] }),
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /not a response/ },
    started: true,
  },
  'an empty stream': {
    handler: answerEvents([]),
    error: { kind: 'upstream_failed', message: /empty answer/ },
    started: true,
  },
  'a failed response': {
    handler: answerEvents([...begun, failed({ code: 'server_error', message: 'The model broke.' })]),
    error: { kind: 'upstream_failed', message: /^Provider `acme` reported an error: The model broke\.$/ },
    started: true,
  },
  'a failed response, whole': {
    handler: answerStatus(200, {
      object: 'response',
      status: 'failed',
      error: { code: 'server_error', message: 'no' },
    }),
    call: { streamed: false },
    error: { kind: 'upstream_failed', message: /reported an error: no/ },
    started: true,
  },
  'a limit within the stream': {
    handler: answerEvents([...begun, failed({ code: 'rate_limit_exceeded', message: 'Slow down, org-12345.' })]),
    error: { kind: 'rate_limited', code: 'rate_limit_exceeded', message: /\(429\)\.$/ },
    started: true,
  },
  'a prompt that is refused within the stream': {
    handler: answerEvents([...begun, failed({ code: 'invalid_prompt', message: 'Not this.' })]),
    error: { kind: 'invalid_request', code: 'invalid_prompt', message: /^Not this\.$/ },
    started: true,
  },
  'an overflow within the stream': {
    handler: answerEvents([
      ...begun,
      { type: 'error', code: 'context_length_exceeded', message: 'Too long.', param: null },
    ]),
    error: { kind: 'invalid_request', code: 'context_length_exceeded', param: 'input' },
    started: true,
  },
};

describe('bad weather', () => {
  for (const [name, { handler, setting, call, error: expected, started }] of Object.entries(badWeather)) {
    test(name, async () => {
      await using it = await responsesScene(handler, setting);
      const { events: said, error } = await play(it.model, call);
      expect(types(said).includes('start')).toBe(started);
      expect(types(said).filter((type) => type === 'end')).toEqual(['end']);
      const { message: words, ...fields } = expected;
      expect(error).toMatchObject(fields);
      if (words !== undefined) expect(error?.message).toMatch(words);
      expect(JSON.stringify(error?.body())).not.toMatch(/sk-the-servers|127\.0\.0\.1|org-12345/);
      expect(it.upstream.requests).toHaveLength(1);
    });
  }

  test('a port that refuses', async () => {
    await using it = await responsesScene(hang, { url: await refusedUrl(), upstream: { maxRetries: 2 } });
    expect((await play(it.model)).error).toMatchObject({ kind: 'upstream_unavailable' });
    expect(it.delays).toEqual([188, 375]);
  });

  test('a short spell is got through, and an answer that has begun is not asked for again', async () => {
    const retries = { upstream: { maxRetries: 2 } };
    await using it = await responsesScene([answerStatus(503), cutAtOnce, answerResponseText('Hello there')], retries);
    expect(textOf((await play(it.model)).events)).toBe('Hello there');
    expect(new Set(it.upstream.requests.map(({ raw }) => raw)).size).toBe(1);
    it.upstream.use([cutAfter(begun), answerResponseText('again')]);
    expect((await play(it.model)).error).toMatchObject({ kind: 'upstream_failed' });
    expect(it.upstream.requests).toHaveLength(4);
  });
});

describe('a connection', () => {
  test('serves again after a stream, as the terminal event is its end', async () => {
    await using it = await responsesScene(answerResponseText('Hello there'), { upstream: { maxConnections: 1 } });
    const ends = [await play(it.model), await play(it.model)].map(({ end }) => end.reason);
    expect(ends).toEqual(['stop', 'stop']);
  });

  test('that stays open after the terminal event is not waited for', async () => {
    await using it = await responsesScene(hangAfter(events));
    expect((await play(it.model)).end).toEqual({ type: 'end', reason: 'stop' });
  });

  test('is closed by an abort, whenever it comes', async () => {
    const cases: [string, Handler, ModelEvent['type'] | undefined][] = [
      ['before headers', hang, undefined],
      ['at the start', hangAfter([]), 'start'],
      ['in the middle', hangAfter(begun), 'text'],
      ['in a flood', endless, 'text'],
    ];
    for (const [when, handler, at] of cases) {
      await using it = await responsesScene(handler);
      const running = run(it.model, modelCall(), (event, stream) => {
        if (event.type === at) stream?.abort();
      });
      const request = await it.upstream.request();
      if (at === undefined) running.stream.abort();
      await request.gone;
      expect(types(running.events).at(-1), when).toBe(at);
    }
  });
});
