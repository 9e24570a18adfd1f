import { describe, expect, it, onTestFinished } from 'vitest';
import type { Json } from '../support/harness.ts';
import { serve } from '../support/harness.ts';
import { answerResponseText } from '../support/responses-upstream.ts';
import {
  answerSse,
  answerStatus,
  answerText,
  chunk,
  cutAfter,
  cutAtOnce,
  type Handler,
  refusedUrl,
  startUpstream,
} from '../support/upstream.ts';

const bearer = { authorization: 'Bearer the-clients-own-key' };
const ask = { model: 'best', input: 'x' };

/** A server whose model `best` is that of `a`, then that of `b`; `a` gets the client's key, `b` one of the server's. */
async function relay(first: Handler, second: Handler = answerText('From b'), settings: Record<string, string> = {}) {
  const [a, b] = [await startUpstream(first), await startUpstream(second)];
  onTestFinished(async () => {
    await a.close();
    await b.close();
  });
  const server = await serve({
    'providers.a.base-url': a.url,
    'providers.b.base-url': b.url,
    'providers.b.api-key': 'the-servers-key',
    'models.best': 'a/large, b/small',
    'upstream.max-retries': '0',
    ...settings,
  });
  return { server, a, b };
}

function textIn(response: Json): string {
  return response.output[0].content[0].text;
}

const overflow = { error: { code: 'context_length_exceeded', message: 'This is too long.' } };
const failing: readonly (readonly [string, Handler])[] = [
  ['500', answerStatus(500, { error: { message: 'broken' } })],
  ['502', answerStatus(502)],
  ['503', answerStatus(503)],
  ['504', answerStatus(504)],
  ['429', answerStatus(429, { error: { message: 'slow down' } })],
  ['404', answerStatus(404, { error: { message: 'no such model' } })],
  ['a context that is too long', answerStatus(400, overflow)],
  ['a connection that breaks', cutAtOnce],
  ['a stream that breaks with nothing said', cutAfter([chunk({ role: 'assistant', content: '' })])],
  ['an answer that is none', answerSse([])],
];

describe('a fallback', () => {
  it.each(failing)('is asked after %s, and never sees the client’s key', async (_what, script) => {
    for (const stream of [true, false]) {
      const { server, a, b } = await relay(script);
      const response = stream ? await server.streamed(ask, bearer) : await server.respond(ask, bearer);
      expect(textIn(response)).toBe('From b');
      expect(response).toMatchObject({ status: 'completed', model: 'test-model-1', error: null });
      expect([a, b].map(({ requests }) => requests.map(({ body }) => body.model))).toEqual([['large'], ['small']]);
      expect(a.requests[0]?.headers.authorization).toBe(bearer.authorization);
      expect(b.requests[0]?.headers.authorization).toBe('Bearer the-servers-key');
      expect(JSON.stringify([b.requests[0]?.headers, b.requests[0]?.raw])).not.toContain('clients-own');
    }
  });

  it('that has no key of the server’s is asked without one', async () => {
    const local = await startUpstream(answerText('From c'));
    onTestFinished(() => local.close());
    const settings = { 'providers.c.base-url': local.url, 'models.best': 'a/large, c/tiny' };
    const { server } = await relay(answerStatus(500), undefined, settings);
    expect(textIn(await server.respond(ask, bearer))).toBe('From c');
    expect(local.requests[0]?.headers.authorization).toBeUndefined();
    expect(JSON.stringify(local.requests[0]?.headers)).not.toContain('clients-own');
  });

  it('may speak another protocol, be the demo, or come after one that can not be reached', async () => {
    const settings = { 'providers.b.api': 'responses', 'providers.a.base-url': await refusedUrl() };
    const { server } = await relay(answerText('never'), answerResponseText('From b'), settings);
    expect(textIn(await server.streamed(ask, bearer))).toBe('From b');
    const last = await relay(answerStatus(503), answerStatus(503), { 'models.best': 'a/large, b/small, demo/x' });
    expect((await last.server.respond({ ...ask, input: 'Say exactly: hello' }, bearer)).output).toMatchObject([
      { content: [{ text: 'hello' }] },
    ]);
  });

  it.each<[string, Handler, number]>([
    ['400', answerStatus(400, { error: { message: 'wrong' } }), 400],
    ['422', answerStatus(422, { error: { message: 'wrong' } }), 400],
    ['401', answerStatus(401, { error: { message: 'no' } }), 401],
    ['403', answerStatus(403, { error: { message: 'no' } }), 403],
  ])('is not asked after %s', async (_what, script, status) => {
    const { server, b } = await relay(script);
    expect((await server.post('/v1/responses', ask, bearer)).status).toBe(status);
    expect(b.requests).toEqual([]);
  });

  it('is not asked once something was said', async () => {
    const { server, b } = await relay(cutAfter([chunk({ content: 'Hel' })]));
    const { events } = await server.stream({ ...ask, store: true }, bearer);
    expect(events.at(-1)?.data.response).toMatchObject({
      status: 'failed',
      output: [{ status: 'incomplete', content: [{ text: 'Hel' }] }],
    });
    expect(b.requests).toEqual([]);
  });

  it('leaves its own error where it fails too, and nothing that is stored', async () => {
    const script = answerStatus(429, { error: { message: 'slow down' } }, { 'retry-after': '7' });
    const { server } = await relay(answerStatus(500), script);
    const { body: conversation } = await server.post('/v1/conversations', {}, bearer);
    const answer = await server.post('/v1/responses', { ...ask, conversation: conversation.id }, bearer);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '7']);
    const items = await server.get(`/v1/conversations/${conversation.id}/items`, bearer);
    expect(items.body.data).toEqual([]);
  });

  it('is passed over where it can’t do what is asked, and the first error stands', async () => {
    const image = { type: 'input_image', image_url: 'https://example.com/a.png' };
    const settings = { 'providers.b.profile': 'ollama' };
    const { server, b } = await relay(answerStatus(503), undefined, settings);
    const answer = await server.post('/v1/responses', { ...ask, input: [{ role: 'user', content: [image] }] }, bearer);
    expect(answer.status).toBe(503);
    expect(b.requests).toEqual([]);
  });

  it('gets what it can do, and the answer says what was left out', async () => {
    const settings = { 'providers.b.profile': 'ollama', 'upstream.unsupported': 'drop' };
    const { server, b } = await relay(answerStatus(503), undefined, settings);
    const body = { ...ask, tools: [{ type: 'function', name: 'f' }], tool_choice: 'required' };
    const answer = await server.post('/v1/responses', body, bearer);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-open-responses-dropped')).toBe('tool_choice');
    expect(b.requests[0]?.body).not.toHaveProperty('tool_choice');
  });

  it('is where the conversation goes on next time only if the first fails again', async () => {
    const flaky = [answerStatus(500), answerText('From a')];
    const { server, a, b } = await relay(flaky[0] as Handler);
    const first = await server.respond({ ...ask, store: true }, bearer);
    a.use(flaky[1] as Handler);
    const second = await server.respond({ ...ask, previous_response_id: first.id }, bearer);
    expect(textIn(second)).toBe('From a');
    expect(a.requests.at(-1)?.body.messages.map(({ content }: Json) => content)).toEqual(['x', 'From b', 'x']);
    expect(b.requests).toHaveLength(1);
  });
});
