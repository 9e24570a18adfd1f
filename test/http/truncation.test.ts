import { describe, expect, it } from 'vitest';
import type { Json } from '../support/harness.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerText, type Handler } from '../support/upstream.ts';

const words = 'some words of a text ';

function sizeOf(body: Json): number {
  return body.messages.reduce((sum: number, { content }: Json) => sum + (content?.length ?? 0), 0);
}

/** An upstream with a context of so many characters. */
function upTo(maxChars: number): Handler {
  return (reply, request) => {
    if (sizeOf(request.body) <= maxChars) return answerText('Hello')(reply, request);
    const message = `This model's maximum context length is ${maxChars}.`;
    reply.json({ error: { message, type: 'invalid_request_error', code: 'context_length_exceeded' } }, 400);
  };
}

const long = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ role: 'user', content: `${index}: ${words.repeat(50)}` }));

describe('truncation: auto', () => {
  it.each([true, false])('offers less until the upstream takes it; streamed: %s', async (streamed) => {
    const { server, upstream } = await serveScripted(upTo(10_000));
    const request = { model: 'm', input: long(40), truncation: 'auto', store: true };
    const response = streamed ? await server.streamed(request) : await server.respond(request);
    expect(response).toMatchObject({ status: 'completed', truncation: 'auto' });
    const sizes = upstream.requests.map(({ body }) => sizeOf(body));
    expect(sizes.length).toBeGreaterThan(3);
    for (const [index, size] of sizes.slice(1).entries()) {
      const before = sizes[index] ?? 0;
      expect(size).toBeLessThanOrEqual(before * 0.7);
      expect(size).toBeGreaterThan(before * 0.5);
    }
    for (const { body } of upstream.requests) expect(body.messages.at(-1).content).toMatch(/^39: /);
    // R15: what was left out is input all the same.
    const { body: page } = await server.get(`/v1/responses/${response.id}/input_items?limit=100&order=asc`);
    expect(page.data).toHaveLength(40);
    const next = await server.respond({ ...request, input: 'And?', previous_response_id: response.id });
    expect(next.status).toBe('completed');
  });

  it('leaves instructions alone, and out first what is oldest, history before input', async () => {
    const { server, upstream } = await serveScripted();
    const first = await server.respond({ model: 'm', input: long(10), store: true });
    upstream.use(upTo(8_000));
    const request = { model: 'm', input: 'the newest', instructions: 'Be kind.', previous_response_id: first.id };
    await server.respond({ ...request, truncation: 'auto' });
    const { messages } = upstream.requests.at(-1)?.body ?? {};
    expect(messages[0].content).toBe('Be kind.');
    expect(messages.at(-1).content).toBe('the newest');
    expect(messages[1].content).toMatch(/^[3-9]: /);
  });

  it('keeps calls together with their outputs', async () => {
    const { server, upstream } = await serveScripted(upTo(5_000));
    const turns = Array.from({ length: 12 }, (_, index) => [
      { role: 'user', content: `${index}: ${words.repeat(15)}` },
      { type: 'function_call', call_id: `call_${index}`, name: 'f', arguments: '{}' },
      { type: 'custom_tool_call', call_id: `custom_${index}`, name: 'c', input: 'x' },
      { type: 'function_call_output', call_id: `call_${index}`, output: words.repeat(10) },
      { type: 'custom_tool_call_output', call_id: `custom_${index}`, output: words.repeat(10) },
    ]);
    await server.respond({ model: 'm', input: turns.flat(), truncation: 'auto' });
    expect(upstream.requests.length).toBeGreaterThan(2);
    for (const { body } of upstream.requests) {
      const ids = body.messages.flatMap(({ tool_calls = [] }: Json) => tool_calls.map(({ id }: Json) => id));
      const answered = body.messages.flatMap(({ tool_call_id }: Json) => tool_call_id ?? []);
      expect(answered).toEqual(ids);
      expect(ids).toContain('custom_11');
    }
  });

  it('gives up where nothing is left to leave out', async () => {
    const { server, upstream } = await serveScripted(upTo(10));
    const request = { model: 'm', truncation: 'auto' };
    const answer = await server.post('/v1/responses', { ...request, input: long(2_000).map((item) => item) });
    expect(answer.status).toBe(400);
    expect(answer.body.error).toMatchObject({ code: 'context_length_exceeded' });
    expect(upstream.requests.length).toBeLessThanOrEqual(17);
    expect(upstream.requests.length).toBeGreaterThan(10);
    const one = upstream.requests.length;
    expect((await server.post('/v1/responses', { ...request, input: words.repeat(10) })).status).toBe(400);
    expect(upstream.requests).toHaveLength(one + 1);
  });

  it('is not done unasked, nor for other errors', async () => {
    const { server, upstream } = await serveScripted(upTo(1_000));
    for (const truncation of ['disabled', null]) {
      const answer = await server.post('/v1/responses', { model: 'm', input: long(10), truncation });
      expect(answer.body.error).toMatchObject({ code: 'context_length_exceeded' });
    }
    expect(upstream.requests).toHaveLength(2);
    upstream.use((reply) => reply.json({ error: { message: 'wrong', code: 'nope' } }, 400));
    expect((await server.post('/v1/responses', { model: 'm', input: long(10), truncation: 'auto' })).status).toBe(400);
    expect(upstream.requests).toHaveLength(3);
  });

  it('does not lift the bound of the server', async () => {
    const { server, upstream } = await serveScripted(undefined, { 'context.max-bytes': '10KiB' });
    const answer = await server.post('/v1/responses', { model: 'm', input: long(20), truncation: 'auto' });
    expect([answer.status, answer.body.error.code]).toEqual([400, 'context_length_exceeded']);
    expect(upstream.requests).toEqual([]);
  });
});
