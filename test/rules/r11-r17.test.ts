import { describe, expect, it } from 'vitest';
import { type Json, storeTypes } from '../support/harness.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerStatus, answerText, chunk, hang, hangAfter, refusedUrl } from '../support/upstream.ts';

const model = 'm';

describe.each(storeTypes)('state rules on %s', (store) => {
  it('R11 a client that leaves ends the upstream call; the stored response is cancelled with the output so far', async () => {
    const { server, upstream } = await serveScripted(
      hangAfter([chunk({ content: 'half an ' }), chunk({ content: 'answer' })]),
      {},
      store,
    );
    const { body: conversation } = await server.post('/v1/conversations', {});
    for (const where of [{ store: true }, { conversation: conversation.id }]) {
      const open = await server.open({ model, input: 'x', ...where });
      const { response } = await open.until('response.created');
      expect((await server.get(`/v1/responses/${response.id}`)).status).toBe(404);
      await open.until('response.output_text.delta');
      open.leave();
      await upstream.requests.at(-1)?.gone;
      const { body } = await until(() => server.get(`/v1/responses/${response.id}`));
      expect(body).toMatchObject({ status: 'cancelled', error: null });
      expect(body.output[0]).toMatchObject({ type: 'message', status: 'incomplete' });
      const next = await server.post('/v1/responses', { model, input: 'y', previous_response_id: response.id });
      expect(next.status).toBe(400);
    }
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toEqual([]);
  });

  it('R11 a JSON client that leaves ends the upstream call, frees the conversation, and leaves nothing behind', async () => {
    const { server, upstream } = await serveScripted(hang, {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const abort = new AbortController();
    const asked = fetch(`${server.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, input: 'x', conversation: conversation.id }),
      signal: abort.signal,
    });
    const request = await upstream.request(0);
    abort.abort();
    await expect(asked).rejects.toThrow();
    await request.gone;
    upstream.use(answerText('on'));
    await until(() => server.post('/v1/responses', { model, input: 'y', conversation: conversation.id }));
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toHaveLength(2);
  });

  it('R12 a busy conversation is locked for runs and items, with the headers that make clients retry; not for metadata', async () => {
    const { server } = await serveScripted(hangAfter([chunk({ content: 'slow' })]), {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {
      items: [{ role: 'user', content: 'a', id: 'i1' }],
    });
    const path = `/v1/conversations/${conversation.id}`;
    const open = await server.open({ model, input: 'x', conversation: conversation.id });
    await open.until('response.created');
    const locked = [
      await server.post('/v1/responses', { model, input: 'y', conversation: conversation.id }),
      await server.post('/v1/responses', { model, input: 'y', conversation: conversation.id, stream: true }),
      await server.post(`${path}/items`, { items: [{ role: 'user', content: 'b' }] }),
      await server.delete(`${path}/items/i1`),
    ];
    for (const answer of locked) {
      expect(answer.status).toBe(400);
      expect(answer.body.error).toMatchObject({ code: 'conversation_locked', param: 'conversation' });
      expect(answer.body.error.message).toContain('Another process is currently operating on this conversation.');
      expect(answer.headers.get('x-should-retry')).toBe('true');
      expect(answer.headers.get('retry-after-ms')).toBe('500');
    }
    expect((await server.post(path, { metadata: { a: 'b' } })).body.metadata).toEqual({ a: 'b' });
    expect((await server.get(`${path}/items`)).body.data).toHaveLength(1);
    open.leave();
    await until(() => server.delete(`${path}/items/i1`));
  });

  it('R12 a run that outlives its lease many times keeps the conversation', async () => {
    let release: () => void = () => {};
    const script = async (reply: Json) => {
      reply.open();
      reply.event(chunk({ content: 'slow' }));
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      reply.event(chunk({}, 'stop'));
      reply.event('[DONE]');
      reply.end();
    };
    const { server } = await serveScripted(script, { 'conversation.lease': '1s' }, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const open = await server.open({ model, input: 'x', conversation: conversation.id });
    await open.until('response.output_text.delta');
    // Longer than two leases: without renewals the conversation would be free.
    for (const end = Date.now() + 2_500; Date.now() < end; ) {
      const answer = await server.post(`/v1/conversations/${conversation.id}/items`, {
        items: [{ role: 'user', content: 'b' }],
      });
      expect(answer.body.error?.code).toBe('conversation_locked');
    }
    release();
    expect((await open.rest()).at(-1)?.event).toBe('response.completed');
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toHaveLength(2);
  });

  it('R13 errors before the upstream’s 2xx are plain HTTP, also for a stream', async () => {
    const { server } = await serveScripted(answerStatus(500, { error: { message: 'boom' } }), {}, store);
    const answer = await server.post('/v1/responses', { model, input: 'x', stream: true, store: true });
    expect(answer.status).toBe(502);
    expect(answer.headers.get('content-type')).toContain('application/json');
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
    expect(answer.body.error.type).toBe('server_error');
  });

  it('R13 headers and response.created leave with the upstream’s 2xx, before it has said anything', async () => {
    const { server } = await serveScripted((reply) => reply.open(), {}, store);
    const open = await server.open({ model, input: 'x' });
    expect((await open.until('response.in_progress')).sequence_number).toBe(1);
    open.leave();
  });

  it('R14 three attempts of an SDK against a failing upstream leave no item behind', async () => {
    const { server, upstream } = await serveScripted(answerStatus(500, { error: { message: 'boom' } }), {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const client = server.client().withOptions({ maxRetries: 2 });
    const owned = await client.conversations.create();
    await expect(client.responses.create({ model, input: 'x', conversation: owned.id })).rejects.toMatchObject({
      status: 502,
    });
    expect(upstream.requests).toHaveLength(3);
    expect((await client.conversations.items.list(owned.id)).data).toEqual([]);
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toEqual([]);
  });

  it('R15 input_items has the context and the own input, never the own output nor the instructions', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    const first = await server.respond({ model, input: 'one', instructions: 'be brief', store: true });
    const second = await server.respond({
      model,
      input: 'two',
      instructions: 'be kind',
      previous_response_id: first.id,
      store: true,
    });
    const shown = await server.get(`/v1/responses/${second.id}/input_items`);
    expect(shown.body.data.map((item: Json) => item.content[0].text)).toEqual(['two', 'Hello there', 'one']);
    expect(JSON.stringify(shown.body)).not.toContain('be ');
    const page = await server.get(
      `/v1/responses/${second.id}/input_items?limit=1&order=asc&include[]=message.input_image.image_url`,
    );
    expect(page.body).toMatchObject({ object: 'list', has_more: true });
    expect(page.body.first_id).toBe(page.body.last_id);
    const rest = await server.get(
      `/v1/responses/${second.id}/input_items?limit=5&order=asc&after=${page.body.last_id}`,
    );
    expect(rest.body.has_more).toBe(false);
    expect(rest.body.data.map((item: Json) => item.content[0].text)).toEqual(['Hello there', 'two']);
  });
});

describe('state rules of the wire', () => {
  it.each([
    ['a connection that is refused', undefined, 503, 'server_error', null],
    [
      '401 with the server’s key',
      answerStatus(401, { error: { message: 'bad key sk-secret-123' } }),
      502,
      'server_error',
      null,
    ],
    ['403 with the server’s key', answerStatus(403, {}), 502, 'server_error', null],
    ['404', answerStatus(404, {}), 400, 'invalid_request_error', 'model_not_found'],
    ['400', answerStatus(400, { error: { message: 'bad thing' } }), 400, 'invalid_request_error', null],
    [
      'an overflow',
      answerStatus(400, { error: { message: 'too long', code: 'context_length_exceeded' } }),
      400,
      'invalid_request_error',
      'context_length_exceeded',
    ],
    ['408', answerStatus(408, {}), 504, 'server_error', null],
    ['429', answerStatus(429, {}, { 'retry-after': '7' }), 429, 'requests', 'rate_limit_exceeded'],
    ['503', answerStatus(503, {}), 503, 'server_error', null],
  ])('R14 %s', async (_name, script, status, type, code) => {
    const settings = { 'providers.up.api-key': 'sk-secret-123' };
    const { server } = await serveScripted(
      script,
      script === undefined ? { ...settings, 'providers.up.base-url': await refusedUrl() } : settings,
    );
    for (const stream of [false, true]) {
      const answer = await server.post('/v1/responses', { model, input: 'x', stream });
      expect(answer.status).toBe(status);
      expect(answer.body.error).toMatchObject({ type, code });
      expect(JSON.stringify(answer.body)).not.toContain('sk-secret');
      expect(answer.headers.get('retry-after')).toBe(status === 429 ? '7' : null);
    }
  });

  it('R14 the upstream’s 401 is passed on where the client’s own key was used', async () => {
    const { server, upstream } = await serveScripted(answerStatus(401, { error: { message: 'no' } }));
    const answer = await server.post('/v1/responses', { model, input: 'x' }, { authorization: 'Bearer mine' });
    expect(answer.status).toBe(401);
    expect(answer.body.error.code).toBe('invalid_api_key');
    expect(upstream.requests[0]?.headers.authorization).toBe('Bearer mine');
  });

  it('R16 unknown fields are refused by name, or ignored by configuration; client_metadata never counts', async () => {
    const { server, upstream } = await serveScripted();
    const body = { model, input: [{ role: 'user', content: 'x', nonsense: 1 }] };
    const refused = await server.post('/v1/responses', body);
    expect(refused.body.error).toMatchObject({ code: 'unknown_parameter', param: 'input[0].nonsense' });
    const metadata = { metadata: { secret: 'never sent' }, client_metadata: { a: '{"b":1}' } };
    const response = await server.respond({ model, input: 'x', ...metadata });
    expect(response.metadata).toEqual({ secret: 'never sent' });
    expect(upstream.requests[0]?.raw).not.toContain('never sent');
    expect(upstream.requests[0]?.raw).not.toContain('metadata');
    const lenient = await serveScripted(undefined, { 'http.unknown-fields': 'ignore' });
    expect((await lenient.server.post('/v1/responses', { ...body, more: {} })).status).toBe(200);
  });

  it('R17 deltas are obfuscated only where the request or the operator asks for it', async () => {
    const has = async (settings: Record<string, string>, options: object | undefined) => {
      const { server } = await serveScripted(undefined, settings);
      const { events } = await server.stream({ model, input: 'x', stream_options: options });
      return events
        .filter((each) => each.event === 'response.output_text.delta')
        .every((each) => typeof each.data.obfuscation === 'string');
    };
    expect(await has({}, undefined)).toBe(false);
    expect(await has({}, { include_obfuscation: true })).toBe(true);
    expect(await has({ 'stream.obfuscation': 'true' }, undefined)).toBe(true);
    expect(await has({ 'stream.obfuscation': 'true' }, { include_obfuscation: false })).toBe(false);
  });
});

/** Asks again until the answer is a success. What is awaited happens behind the scenes, and soon. */
async function until<T extends { status: number }>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer.status === 200) return answer;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
