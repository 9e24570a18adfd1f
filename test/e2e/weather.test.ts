import { describe, expect, it } from 'vitest';
import { type Json, storeTypes } from '../support/harness.ts';
import { sentTexts, serveScripted } from '../support/scripted-server.ts';
import {
  answerBytes,
  answerCalls,
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

const model = 'm';
const tools = [{ type: 'function', name: 'f', parameters: { type: 'object' } }];

type Weather = {
  readonly name: string;
  readonly script: Handler;
  /** The status of the plain answer; for a stream 200 where the failure comes after the upstream's 2xx. */
  readonly json: number;
  readonly sse: number;
  readonly settings?: Record<string, string>;
};

const soon = { 'upstream.headers-timeout': '80ms', 'upstream.idle-timeout': '80ms' };
const both =
  (stream: Handler, whole: Handler): Handler =>
  (reply, request) =>
    (request.body.stream === true ? stream : whole)(reply, request);

const weathers: readonly Weather[] = [
  { name: '401', script: answerStatus(401, { error: { message: 'no' } }), json: 502, sse: 502 },
  { name: '404', script: answerStatus(404, 'nothing here'), json: 400, sse: 400 },
  { name: '408', script: answerStatus(408, {}), json: 504, sse: 504 },
  {
    name: '429',
    script: answerStatus(429, { error: { message: 'slow down' } }, { 'retry-after': '3' }),
    json: 429,
    sse: 429,
  },
  { name: '500', script: answerStatus(500, { error: 'x' }), json: 502, sse: 502 },
  {
    name: 'HTML with 500',
    script: answerStatus(500, '<html>oops</html>', { 'content-type': 'text/html' }),
    json: 502,
    sse: 502,
  },
  {
    name: 'HTML with 200',
    script: answerStatus(200, '<html>login</html>', { 'content-type': 'text/html' }),
    json: 502,
    sse: 502,
  },
  { name: 'a redirect', script: answerStatus(302, '', { location: 'http://127.0.0.1:1/' }), json: 502, sse: 502 },
  { name: 'a connection cut before the answer', script: cutAtOnce, json: 503, sse: 503 },
  { name: 'silence', script: hang, json: 504, sse: 504, settings: soon },
  { name: 'an empty body', script: answerBytes(''), json: 502, sse: 200 },
  {
    name: 'an answer with nothing in it',
    script: both(answerBytes('data: [DONE]\n\n'), answerStatus(200, { choices: [] })),
    json: 502,
    sse: 200,
  },
  {
    name: 'malformed events',
    script: both(
      answerBytes('data: {"choices": [\n\ndata: nonsense\n\n'),
      answerStatus(200, '{"choices":', { 'content-type': 'application/json' }),
    ),
    json: 502,
    sse: 200,
  },
  {
    name: 'a stream cut after some output',
    script: both(cutAfter([chunk({ content: 'half' })]), cutAtOnce),
    json: 503,
    sse: 200,
  },
  {
    name: 'a stream that ends without an end',
    script: both(answerBytes(`data: ${JSON.stringify(chunk({ content: 'half' }))}\n\n`), cutAtOnce),
    json: 503,
    sse: 200,
  },
  {
    name: 'a stream that falls silent',
    script: both(hangAfter([chunk({ content: 'half' })]), hang),
    json: 504,
    sse: 200,
    settings: soon,
  },
  {
    name: 'a stream that never ends',
    script: both(endless, hang),
    json: 504,
    sse: 200,
    settings: { ...soon, 'upstream.max-response': '100KiB' },
  },
  {
    name: 'an error in the stream',
    script: both(
      answerBytes('data: {"error":{"message":"overloaded","code":500}}\n\n'),
      answerStatus(200, { error: { message: 'x' } }),
    ),
    json: 502,
    sse: 200,
  },
  {
    name: 'arguments that are not JSON',
    script: answerCalls([{ id: 'call_1', name: 'f', arguments: '{"a": nope' }]),
    json: 502,
    sse: 200,
  },
];

describe.each(storeTypes)('bad weather upstream, on %s', (store) => {
  it.each(weathers)('$name: a clear error, and nothing half-written', async ({ script, json, sse, settings }) => {
    const { server, upstream } = await serveScripted(
      answerText('first'),
      { ...settings, 'providers.up.api-key': 'sk-very-secret' },
      store,
    );
    const { body: conversation } = await server.post('/v1/conversations', {});
    const base = await server.respond({ model, input: 'one', store: true });
    upstream.use(script);
    const ask = { model, input: 'two', tools };
    const places = [{ conversation: conversation.id }, { previous_response_id: base.id, store: true }];
    for (const where of places) {
      const plain = await server.post('/v1/responses', { ...ask, ...where });
      expect(plain.status, JSON.stringify(plain.body)).toBe(json);
      checkError(plain.body.error);
      const streamed = await server.post('/v1/responses', { ...ask, ...where, stream: true });
      expect(streamed.status, JSON.stringify(streamed.body)).toBe(sse);
      if (sse === 200) await checkFailedStream(streamed.body, server);
      else checkError(streamed.body.error);
      expect(JSON.stringify([plain.body, streamed.body])).not.toContain('very-secret');
    }
    upstream.use(answerText('fine again'));
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toEqual([]);
    for (const where of places) {
      const after = await server.respond({ model, input: 'three', ...where });
      expect(after.status).toBe('completed');
    }
    expect(sentTexts(upstream, -2)).toEqual(['user: three']);
    expect(sentTexts(upstream, -1)).toEqual(['user: one', 'assistant: first', 'user: three']);
  });

  it('split UTF-8 and CRLF arrive whole', async () => {
    const text = 'Grüße 世界 👩‍👩‍👧';
    const bytes = Buffer.from(sseText(textChunks(text)).replaceAll('\n', '\r\n'));
    const { server } = await serveScripted(answerBytes(bytes, undefined, 1), {}, store);
    const response = await server.streamed({ model, input: 'x', store: true });
    expect(response.output[0].content[0].text).toBe(text);
    expect((await server.get(`/v1/responses/${response.id}`)).body).toEqual(response);
  });

  it('a retry happens only where nothing was produced, and honours Retry-After', async () => {
    const { server, upstream } = await serveScripted(
      [answerStatus(503, {}, { 'retry-after': '0' }), answerText('second try')],
      { 'upstream.max-retries': '1' },
      store,
    );
    const response = await server.respond({ model, input: 'x', store: true });
    expect(response.output[0].content[0].text).toBe('second try');
    expect(upstream.requests).toHaveLength(2);
    upstream.use(cutAfter([chunk({ content: 'half' })]));
    await server.streamed({ model, input: 'y', store: true });
    expect(upstream.requests).toHaveLength(3);
  });

  it('what the upstream reports is passed on: its model, its usage', async () => {
    const { server } = await serveScripted(
      (reply, request) =>
        request.body.stream ? answerText('x')(reply, request) : reply.json(completion({ content: 'x' })),
      {},
      store,
    );
    for (const response of [
      await server.respond({ model, input: 'x' }),
      await server.streamed({ model, input: 'x' }),
    ]) {
      expect(response.model).toBe('test-model-1');
      expect(response.usage).toEqual({
        input_tokens: 11,
        input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 },
        output_tokens: 7,
        output_tokens_details: { reasoning_tokens: 2 },
        total_tokens: 18,
      });
    }
  });
});

function checkError(error: Json): void {
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type']);
  expect(error.message.length).toBeGreaterThan(10);
  expect(error.message).not.toMatch(/undefined|\[object|<html|at .*\.ts/);
}

async function checkFailedStream(
  text: string,
  server: { get(path: string): Promise<{ status: number; body: Json }> },
): Promise<void> {
  const blocks = text.split('\n\n').filter((block) => block.startsWith('event: '));
  const events = blocks.map((block) => JSON.parse(block.slice(block.indexOf('data: ') + 6)));
  const [error, failed] = events.slice(-2);
  expect([error.type, failed.type]).toEqual(['error', 'response.failed']);
  checkError(error.error);
  expect(failed.response).toMatchObject({ status: 'failed', error: { code: 'server_error' }, completed_at: null });
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  const stored = await server.get(`/v1/responses/${failed.response.id}`);
  expect(stored.body).toEqual(failed.response);
}
