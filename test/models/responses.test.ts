import { describe, expect, test } from 'vitest';
import type { ModelCall } from '../../src/model.ts';
import { modelCall, modelContract, textOf, userSays } from '../contracts/model.ts';
import { answerItems, answerResponseCalls, answerResponseText, message } from '../support/responses-upstream.ts';
import { answerStatus, cutAtOnce, type Handler, hang } from '../support/upstream.ts';
import { responsesScene } from './responses-support.ts';
import { play, types } from './support.ts';

const weather: ModelCall['tools'][number] = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

/** Answers by what the request asks for. */
const playScenario: Handler = (reply, request) => {
  if (request.body.tools !== undefined) {
    answerResponseCalls([{ id: 'call_1', name: 'get_weather', arguments: '{"city":"Bern"}' }])(reply, request);
  } else if (request.body.text !== undefined) {
    answerResponseText('{"answer": 42}')(reply, request);
  } else {
    answerResponseText('Grüezi, this is an answer of several words.')(reply, request);
  }
};

for (const profile of ['openai', 'generic', 'ollama', 'vllm', 'groq', 'openrouter', 'llamacpp']) {
  modelContract(`responses, profile ${profile}`, async () => {
    const { model, close } = await responsesScene(playScenario, { profile });
    const base = modelCall({ items: [userSays('Hello')] });
    const calls = {
      text: base,
      tool: { ...base, tools: [weather] },
      json: { ...base, format: { type: 'json_object' } },
    } as const;
    return { model, call: (scenario) => calls[scenario], close };
  });
}

const encrypted = (id: string): ModelCall['items'][number] => {
  return { id, type: 'reasoning', summary: [], encrypted_content: `sealed by the upstream: ${id}` };
};

const refusal = (message_: string, more: object = {}) =>
  answerStatus(400, { error: { message: message_, type: 'invalid_request_error', param: null, code: null, ...more } });

describe('a request', () => {
  test('goes to /responses, with the credentials and the headers of every call', async () => {
    await using it = await responsesScene(answerResponseText('ok'), { headers: { 'X-Team': 'blue' } });
    await play(it.model, { credential: 'the-clients', via: ['one', 'two'] });
    const { headers, path, method } = await it.upstream.request();
    expect({ path, method }).toEqual({ path: '/v1/responses', method: 'POST' });
    expect(headers['authorization']).toBe('Bearer sk-the-servers-own-key');
    expect(headers['x-team']).toBe('blue');
    expect(headers['x-open-responses-via']).toBe('one,two');
    expect(JSON.stringify(headers)).not.toContain('the-clients');
  });

  test('asks the upstream to keep nothing, unless the operator wants it to', async () => {
    await using it = await responsesScene(answerResponseText('ok'));
    await play(it.model);
    expect((await it.upstream.request()).body.store).toBe(false);
    await using other = await responsesScene(answerResponseText('ok'), { store: true });
    await play(other.model);
    expect((await other.upstream.request()).body.store).toBe(true);
  });

  test('that nobody watches is not streamed', async () => {
    await using it = await responsesScene(answerResponseText('Hello there'));
    const { events } = await play(it.model, { streamed: false });
    const { body } = await it.upstream.request();
    expect(body.stream).toBeUndefined();
    expect(body.stream_options).toBeUndefined();
    expect(types(events)).toEqual(['start', 'model', 'text', 'spoken_end', 'model', 'usage', 'end']);
  });
});

describe('what the upstream refuses and can be spared', () => {
  const unverified = 'The encrypted content gAAA...A== could not be verified.';

  test.each([
    ['by its code', refusal(unverified, { code: 'invalid_encrypted_content' })],
    ['by its words', refusal(unverified)],
  ])('encrypted reasoning that it can no longer read, told %s', async (_how, handler) => {
    await using it = await responsesScene([handler, answerResponseText('Hello again')]);
    const items = [userSays('Hello'), encrypted('rs_1'), userSays('Again')];
    const { events, end } = await play(it.model, { items });
    expect(end.reason).toBe('stop');
    expect(textOf(events)).toBe('Hello again');
    expect(types(events).filter((type) => type === 'start')).toHaveLength(1);
    const [first, second] = it.upstream.requests;
    expect(first?.body.input).toHaveLength(3);
    expect(second?.body.input.map(({ type }: { type: string }) => type)).toEqual(['message', 'message']);
    expect(it.warnings).toEqual(['an upstream refused a part of a call, and is asked without it']);
    expect(it.delays).toEqual([]);
  });

  test('is spared it once: the second refusal stands', async () => {
    await using it = await responsesScene(refusal(unverified, { code: 'invalid_encrypted_content' }));
    const { error } = await play(it.model, { items: [userSays('Hello'), encrypted('rs_1')] });
    expect(error).toMatchObject({ kind: 'invalid_request', code: 'invalid_encrypted_content' });
    expect(it.upstream.requests).toHaveLength(2);
  });

  test('is not asked again where there is nothing to leave out, or the reason is another', async () => {
    await using it = await responsesScene(refusal(unverified, { code: 'invalid_encrypted_content' }));
    expect((await play(it.model)).error).toMatchObject({ kind: 'invalid_request' });
    expect(it.upstream.requests).toHaveLength(1);
    it.upstream.use(refusal('Too hot.', { param: 'temperature' }));
    const { error } = await play(it.model, { items: [userSays('Hello'), encrypted('rs_1')] });
    expect(error).toMatchObject({ kind: 'invalid_request', param: 'temperature', message: 'Too hot.' });
    expect(it.upstream.requests).toHaveLength(2);
  });

  test('is asked for encrypted reasoning no more by a model that has none', async () => {
    const plain = refusal('Encrypted content is not supported with this model.', { param: 'include' });
    await using it = await responsesScene([plain, answerResponseText('ok')]);
    expect((await play(it.model, { model: 'gpt-plain' })).end.reason).toBe('stop');
    expect((await play(it.model, { model: 'gpt-plain' })).end.reason).toBe('stop');
    await play(it.model, { model: 'gpt-other' });
    expect(it.upstream.requests.map(({ body }) => [body.model, body.include])).toEqual([
      ['gpt-plain', ['reasoning.encrypted_content']],
      ['gpt-plain', undefined],
      ['gpt-plain', undefined],
      ['gpt-other', ['reasoning.encrypted_content']],
    ]);
  });

  test('has its own tries after that', async () => {
    const handlers = [
      answerStatus(503),
      refusal(unverified, { code: 'invalid_encrypted_content' }),
      cutAtOnce,
      answerItems([message('There')]),
    ];
    await using it = await responsesScene(handlers, { upstream: { maxRetries: 1 } });
    const { events } = await play(it.model, { items: [userSays('Hello'), encrypted('rs_1')] });
    expect(textOf(events)).toBe('There');
    expect(it.delays).toEqual([188, 188]);
  });
});

describe('the number of input tokens', () => {
  const call = modelCall({
    items: [userSays('Hello')],
    instructions: 'Be brief.',
    tools: [weather],
    credential: 'mine',
  });
  const none = new AbortController().signal;

  test('is asked of an upstream that tells it', async () => {
    await using it = await responsesScene(
      (reply) => reply.json({ object: 'response.input_tokens', input_tokens: 42 }),
      { apiKey: undefined },
    );
    expect(await it.model.countTokens?.(call, none)).toBe(42);
    const { path, body, headers } = await it.upstream.request();
    expect(path).toBe('/v1/responses/input_tokens');
    expect(headers['authorization']).toBe('Bearer mine');
    expect(Object.keys(body).sort()).toEqual(['input', 'instructions', 'model', 'tools']);
  });

  test('is asked of no other', async () => {
    await using it = await responsesScene(hang, { profile: 'generic' });
    expect(it.model.countTokens).toBeUndefined();
  });

  test.each([
    [
      'a refusal',
      answerStatus(404, { error: { message: 'no such model' } }),
      { kind: 'invalid_request', code: 'model_not_found' },
    ],
    ['no such route', answerStatus(405), { kind: 'method_not_allowed' }],
    ['the credentials', answerStatus(401), { kind: 'upstream_failed' }],
    ['a limit', answerStatus(429, '', { 'retry-after': '2' }), { kind: 'rate_limited', retryAfterMs: 2_000 }],
    ['nonsense', answerStatus(200, { input_tokens: '42' }), { kind: 'upstream_failed' }],
    ['a negative number', answerStatus(200, { input_tokens: -1 }), { kind: 'upstream_failed' }],
    ['a page', answerStatus(200, '<html>'), { kind: 'upstream_failed' }],
    ['nothing', cutAtOnce, { kind: 'upstream_unavailable' }],
  ])('fails as calls do: %s', async (_name, handler, error) => {
    await using it = await responsesScene(handler);
    await expect(it.model.countTokens?.(call, none)).rejects.toMatchObject(error);
  });

  test('is not waited for after an abort', async () => {
    await using it = await responsesScene(hang);
    const controller = new AbortController();
    const counted = it.model.countTokens?.(call, controller.signal);
    const request = await it.upstream.request();
    controller.abort();
    await expect(counted).rejects.toMatchObject({ kind: 'upstream_failed' });
    await request.gone;
    await expect(it.model.countTokens?.(call, controller.signal)).rejects.toMatchObject({ kind: 'upstream_failed' });
  });
});
