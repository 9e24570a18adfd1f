import { inspect } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ModelCall, ModelEvent } from '../../src/model.ts';
import { callsOf, modelCall, modelContract, run, textOf, userSays } from '../contracts/model.ts';
import { answerBytes, answerStatus, cutAtOnce, type Handler, hang, refusedUrl } from '../support/upstream.ts';
import {
  type AiSdkSetting,
  aiSdkScene,
  answerBlocks,
  answerEvents,
  answerParts,
  claude,
  geminiEvents,
  messagesEvents,
  textBlock,
  toolBlock,
  vendors,
} from './ai-sdk-support.ts';
import { play, types } from './support.ts';

const weather: ModelCall['tools'][number] = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};
const anthropic = '@ai-sdk/anthropic';
const google = '@ai-sdk/google';

for (const vendor of vendors) {
  modelContract(`AI SDK, ${vendor.packageName}`, async () => {
    const playScenario: Handler = (reply, request) => {
      const answer =
        request.body.tools !== undefined
          ? vendor.call('call_1', 'get_weather', '{"city":"Bern"}')
          : vendor.text(vendor.wantsJson(request) ? '{"answer": 42}' : 'Grüezi, this is an answer of several words.');
      return answer(reply, request);
    };
    const { model, close } = await aiSdkScene(vendor.packageName, playScenario);
    const base = modelCall({ model: vendor.modelName, items: [userSays('Hello')] });
    const schema = { type: 'object', properties: { answer: { type: 'number' } } };
    const calls = {
      text: base,
      tool: { ...base, tools: [weather] },
      json: { ...base, format: { type: 'json_schema', name: 'answer', schema } },
    } as const;
    return { model, call: (scenario) => calls[scenario], close };
  });

  describe(`through ${vendor.packageName}`, () => {
    const scene = (script: Handler | readonly Handler[], setting?: AiSdkSetting) =>
      aiSdkScene(vendor.packageName, script, setting);
    const begun: Handler = (reply, request) => {
      const events =
        vendor.packageName === anthropic
          ? messagesEvents([textBlock('a b c')])
          : geminiEvents([{ text: 'a' }, { text: 'b' }]);
      reply.open();
      for (const event of events.slice(0, vendor.packageName === anthropic ? 4 : 1)) reply.event(event);
      void request;
    };

    test.each([
      [400, {}, { kind: 'invalid_request', message: 'no, not like this' }],
      [401, {}, { kind: 'upstream_failed', message: "Provider `acme` refused this server's credentials (401)." }],
      [403, {}, { kind: 'upstream_failed' }],
      [404, {}, { kind: 'invalid_request', code: 'model_not_found', param: 'model' }],
      [408, {}, { kind: 'upstream_timeout' }],
      [429, { 'retry-after': '7' }, { kind: 'rate_limited', code: 'rate_limit_exceeded', retryAfterMs: 7_000 }],
      [500, {}, { kind: 'upstream_failed' }],
      [503, {}, { kind: 'upstream_unavailable' }],
      [529, {}, { kind: 'upstream_failed' }],
    ] as [number, Record<string, string>, object][])('a %i is told', async (status, headers, expected) => {
      await using it = await scene(answerStatus(status, vendor.refusal(status, 'no, not like this'), headers));
      const { events, error } = await play(it.model, { model: vendor.modelName });
      expect(types(events)).toEqual(['end']);
      expect(error).toMatchObject(expected);
      expect(it.upstream.requests).toHaveLength(1);
    });

    test("a 401 and a 403 are the client's where its key was used", async () => {
      await using it = await scene([answerStatus(401), answerStatus(403)], { apiKey: undefined });
      const fields = { model: vendor.modelName, credential: 'sk-the-clients' };
      expect((await play(it.model, fields)).error).toMatchObject({ kind: 'unauthorized', code: 'invalid_api_key' });
      expect((await play(it.model, fields)).error).toMatchObject({ kind: 'forbidden' });
    });

    test('an error without a body that it knows is told by its status', async () => {
      await using it = await scene(answerStatus(502, '<html>oops</html>', { 'content-type': 'text/html' }));
      expect((await play(it.model)).error).toMatchObject({
        kind: 'upstream_failed',
        message: 'Provider `acme` failed (502).',
      });
    });

    test('the key goes out in the header of the vendor, and the rest with it', async () => {
      await using it = await scene(vendor.text('ok'), { headers: { 'X-Team': 'blue' } });
      await play(it.model, { model: vendor.modelName, credential: 'the-clients', via: ['one', 'two'] });
      const { headers, path } = await it.upstream.request();
      const key = vendor.packageName === anthropic ? 'x-api-key' : 'x-goog-api-key';
      expect(headers[key]).toBe('sk-the-servers-own-key');
      expect(headers['x-team']).toBe('blue');
      expect(headers['x-open-responses-via']).toBe('one,two');
      expect(headers['accept-encoding']).toBeUndefined();
      expect(path.startsWith('/v1/')).toBe(true);
      expect(JSON.stringify(headers)).not.toContain('the-clients');
    });

    test("the client's credential goes out where the provider has no key, and none where there is none", async () => {
      onTestFinished(() => void vi.unstubAllEnvs());
      vi.stubEnv('ANTHROPIC_API_KEY', 'sk-of-the-environment');
      vi.stubEnv('GOOGLE_GENERATIVE_AI_API_KEY', 'sk-of-the-environment');
      vi.stubEnv('ANTHROPIC_BASE_URL', 'http://127.0.0.1:1/environment');
      await using it = await scene(vendor.text('ok'), { apiKey: undefined });
      await play(it.model, { model: vendor.modelName, credential: 'the-clients' });
      await play(it.model, { model: vendor.modelName });
      const key = vendor.packageName === anthropic ? 'x-api-key' : 'x-goog-api-key';
      expect(it.upstream.requests.map(({ headers }) => headers[key])).toEqual(['the-clients', undefined]);
      expect(JSON.stringify(it.upstream.requests)).not.toContain('environment');
    });

    test("a header of the operator's is stronger than the package's", async () => {
      const headers = { 'X-Api-Key': 'operators', 'x-goog-api-key': 'operators' };
      await using it = await scene(vendor.text('ok'), { apiKey: undefined, headers });
      await play(it.model, { model: vendor.modelName, credential: 'the-clients' });
      const sent = JSON.stringify((await it.upstream.request()).headers);
      expect(sent).toContain('operators');
      expect(sent).not.toMatch(/the-clients|has-no-key/);
    });

    test('an abort closes the connection, whenever it comes', async () => {
      const cases: [string, Handler, ModelEvent['type'] | undefined][] = [
        ['before headers', hang, undefined],
        ['in the middle', begun, 'text'],
      ];
      for (const [when, handler, at] of cases) {
        await using it = await scene(handler);
        const call = modelCall({ model: vendor.modelName, items: [userSays('Hello')] });
        const running = run(it.model, call, (event, stream) => {
          if (event.type === at) stream?.abort();
        });
        const request = await it.upstream.request();
        if (at === undefined) running.stream.abort();
        await request.gone;
        expect(types(running.events).at(-1), when).toBe(at);
      }
    });

    test('a sink that throws ends the call, which is logged', async () => {
      await using it = await scene(begun);
      const call = modelCall({ model: vendor.modelName, items: [userSays('Hello')] });
      const { events } = run(it.model, call, (event) => {
        if (event.type === 'text') throw new Error('a defect');
      });
      await (await it.upstream.request()).gone;
      expect(types(events).at(-1)).toBe('text');
      expect(it.warnings.map(({ message }) => message)).toContain('the sink of a model call threw');
    });

    const badWeather: Record<string, { handler: Handler; setting?: AiSdkSetting; error: object }> = {
      'silence before headers': {
        handler: hang,
        setting: { upstream: { headersTimeoutMs: 50 } },
        error: { kind: 'upstream_timeout', message: 'Provider `acme` did not answer in time.' },
      },
      'silence in the middle': {
        handler: begun,
        setting: { upstream: { idleTimeoutMs: 50 } },
        error: { kind: 'upstream_timeout', message: 'Provider `acme` fell silent in the middle of its answer.' },
      },
      'an answer without end': {
        handler: begun,
        setting: { upstream: { timeoutMs: 50 } },
        error: { kind: 'upstream_timeout' },
      },
      'an answer that is too large': {
        handler: vendor.text('many words '.repeat(500)),
        setting: { upstream: { maxResponseBytes: 2_000 } },
        error: { kind: 'upstream_failed', message: 'Provider `acme` answered with more than 2000 bytes.' },
      },
      'a stream that is cut': {
        handler: (reply, request) => {
          begun(reply, request);
          setImmediate(() => reply.cut());
        },
        error: { kind: 'upstream_failed', message: 'Provider `acme` broke off in the middle of its answer.' },
      },
      'a stream that ends early': {
        handler: (reply, request) => {
          begun(reply, request);
          reply.end();
        },
        error: { kind: 'upstream_failed', message: 'Provider `acme` broke off in the middle of its answer.' },
      },
      'an empty stream': {
        handler: answerEvents([]),
        error: { kind: 'upstream_failed', message: 'Provider `acme` broke off in the middle of its answer.' },
      },
      'no JSON': { handler: answerEvents(['{"type":']), error: { kind: 'upstream_failed' } },
      'JSON of another form': {
        handler: answerEvents([{ type: 'other', candidates: 7 }]),
        error: { kind: 'upstream_failed' },
      },
      'a web page': {
        handler: answerBytes('<html></html>', { 'content-type': 'text/html' }),
        error: { kind: 'upstream_failed', message: 'Provider `acme` answered with a web page.' },
      },
      'a redirect': {
        handler: answerStatus(302, '', { location: 'http://127.0.0.1:1/elsewhere' }),
        error: { kind: 'upstream_failed', message: 'Provider `acme` redirected the call (302).' },
      },
      'a connection that is closed at once': { handler: cutAtOnce, error: { kind: 'upstream_unavailable' } },
    };
    for (const [name, { handler, setting = {}, error }] of Object.entries(badWeather)) {
      test(name, async () => {
        await using it = await scene(handler, setting);
        const { events, error: told } = await play(it.model, { model: vendor.modelName });
        expect(types(events).filter((type) => type === 'end')).toEqual(['end']);
        expect(told).toMatchObject(error);
        expect(JSON.stringify(told?.body())).not.toMatch(/sk-the-servers|127\.0\.0\.1/);
        // Nor what was said, which may not be logged.
        expect(inspect(told, { depth: 9, showHidden: true })).not.toMatch(/sk-the-servers|Hello/);
        expect(it.upstream.requests).toHaveLength(1);
      });
    }

    test('a port that refuses', async () => {
      await using it = await scene(hang, { url: await refusedUrl(), upstream: { maxRetries: 2 } });
      expect((await play(it.model, { model: vendor.modelName })).error).toMatchObject({ kind: 'upstream_unavailable' });
      expect(it.delays).toEqual([188, 375]);
    });

    test('a retry gets through a short spell, with the same request', async () => {
      const script = [answerStatus(503), cutAtOnce, vendor.text('Hello there')];
      await using it = await scene(script, { upstream: { maxRetries: 2 } });
      const { events, end } = await play(it.model, { model: vendor.modelName });
      expect(end.reason).toBe('stop');
      expect(textOf(events)).toBe('Hello there');
      expect(it.delays).toEqual([188, 375]);
      expect(new Set(it.upstream.requests.map(({ raw }) => raw)).size).toBe(1);
    });

    test('a retry is called off by an abort', async () => {
      const { promise: waiting, resolve } = Promise.withResolvers<void>();
      const onBackoff = () => resolve();
      const setting = { upstream: { maxRetries: 2 }, onBackoff };
      await using it = await scene([answerStatus(503), vendor.text('again')], setting);
      const aborted = run(it.model, modelCall({ model: vendor.modelName, items: [userSays('Hello')] }), undefined);
      queueMicrotask(() => void waiting.then(() => aborted.stream.abort()));
      await waiting;
      await play(it.model, { model: vendor.modelName });
      expect(aborted.events).toEqual([]);
      expect(it.upstream.requests).toHaveLength(2);
    });

    test('a connection serves again after a stream', async () => {
      await using it = await scene(vendor.text('Hello there'), { upstream: { maxConnections: 1 } });
      expect((await play(it.model, { model: vendor.modelName })).end.reason).toBe('stop');
      expect((await play(it.model, { model: vendor.modelName })).end.reason).toBe('stop');
    });
  });
}

describe('a pause', () => {
  test('stops the connection, and resuming starts it again', async () => {
    let written = () => 0;
    const delta = {
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'text_delta', text: 'again and again '.repeat(4_096) },
    };
    const flood: Handler = (reply) => {
      written = () => reply.written;
      reply.open();
      for (const event of messagesEvents([textBlock('')]).slice(0, 3)) reply.event(event);
      return reply.endless(delta);
    };
    const meanwhile = answerBlocks([textBlock('meanwhile '.repeat(500))]);
    await using it = await aiSdkScene(anthropic, [flood, meanwhile]);
    const { promise: paused, resolve: tellPaused } = Promise.withResolvers<void>();
    let seen = 0;
    let resumedAt = Number.POSITIVE_INFINITY;
    const { promise: resumed, resolve: tellResumed } = Promise.withResolvers<void>();
    const running = run(it.model, modelCall({ model: claude, items: [userSays('Hello')] }), (event, stream) => {
      if (event.type !== 'text') return;
      seen += 1;
      if (seen === 1) {
        stream?.pause();
        tellPaused();
      } else if (seen > resumedAt + 200) tellResumed();
    });
    await paused;
    // Other calls come and go, until the flood stands still: sockets take some megabytes.
    let before = -1;
    for (let round = 0; written() !== before && round < 50; round += 1) {
      before = written();
      await play(it.model, { model: claude });
    }
    expect(written()).toBe(before);
    expect(seen).toBe(1);
    resumedAt = seen;
    running.stream.resume();
    await resumed;
    expect(written()).toBeGreaterThan(before);
    running.stream.abort();
  });
});

describe('an error in a stream', () => {
  const overloaded = {
    type: 'error',
    error: { type: 'overloaded_error', message: 'Overloaded, sk-the-servers-own-key' },
  };

  test('is told before the start where it comes first', async () => {
    await using it = await aiSdkScene(anthropic, answerEvents([overloaded]));
    const { events, error } = await play(it.model, { model: claude });
    expect(types(events)).toEqual(['end']);
    expect(error).toMatchObject({ kind: 'upstream_failed', message: 'Provider `acme` failed (529): Overloaded, ***' });
  });

  test('is told where it comes later', async () => {
    const limited = { type: 'error', error: { type: 'rate_limit_error', message: 'too fast' } };
    await using it = await aiSdkScene(
      anthropic,
      answerEvents([...messagesEvents([textBlock('a b')]).slice(0, 4), limited]),
    );
    const { events, error } = await play(it.model, { model: claude });
    expect(types(events)).toEqual(['start', 'model', 'text', 'end']);
    expect(error).toMatchObject({ kind: 'rate_limited', code: 'rate_limit_exceeded' });
  });

  test('of Google', async () => {
    const error = { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } };
    await using it = await aiSdkScene(
      google,
      answerEvents([...geminiEvents([{ text: 'a' }, { text: 'b' }]).slice(0, 1), error]),
    );
    expect((await play(it.model)).error).toMatchObject({
      kind: 'upstream_unavailable',
      message: 'Provider `acme` is not available now: The model is overloaded.',
    });
  });
});

describe('a context that is too long', () => {
  test.each([
    [anthropic, 'prompt is too long: 208310 tokens > 200000 maximum'],
    [anthropic, 'input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000'],
    [google, 'The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).'],
  ])('is recognised: %s', async (packageName, message) => {
    await using it = await aiSdkScene(
      packageName,
      answerStatus(400, { error: { code: 400, message, status: 'INVALID' } }),
    );
    expect((await play(it.model)).error).toMatchObject({
      kind: 'invalid_request',
      code: 'context_length_exceeded',
      param: 'input',
    });
  });
});

describe('an end', () => {
  test.each([
    [anthropic, answerBlocks([textBlock('a')], 'max_tokens'), 'max_output_tokens'],
    [anthropic, answerBlocks([textBlock('a')], 'refusal'), 'content_filter'],
    [anthropic, answerBlocks([textBlock('a')], 'a_new_reason'), 'stop'],
    [google, answerParts([{ text: 'a' }], 'MAX_TOKENS'), 'max_output_tokens'],
    [google, answerParts([{ text: 'a' }], 'SAFETY'), 'content_filter'],
  ] as const)('of %s', async (packageName, handler, reason) => {
    await using it = await aiSdkScene(packageName, handler);
    expect((await play(it.model, { model: claude })).end).toEqual({ type: 'end', reason });
  });

  test('with a call that is broken is an error, and one that was cut short is not', async () => {
    const broken = toolBlock('toolu_1', 'get_weather', '{"city": ');
    await using it = await aiSdkScene(anthropic, [
      answerBlocks([broken], 'tool_use'),
      answerBlocks([broken], 'max_tokens'),
    ]);
    const fields = { model: claude, tools: [weather] };
    expect((await play(it.model, fields)).error?.message).toMatch(
      /`get_weather` with arguments that are not valid JSON/,
    );
    expect((await play(it.model, fields)).end).toEqual({ type: 'end', reason: 'max_output_tokens' });
  });

  test('with a call without arguments makes them', async () => {
    await using it = await aiSdkScene(anthropic, answerBlocks([toolBlock('toolu_1', 'get_weather', '')], 'tool_use'));
    const { events } = await play(it.model, { model: claude, tools: [weather] });
    expect(callsOf(events)).toEqual([{ id: 'toolu_1', name: 'get_weather', arguments: '{}' }]);
  });

  test('of a malformed call of Gemini', async () => {
    await using it = await aiSdkScene(google, answerParts([{ text: 'a' }], 'MALFORMED_FUNCTION_CALL'));
    expect((await play(it.model)).error?.message).toMatch(/error \(MALFORMED_FUNCTION_CALL\)/);
  });
});

test('usage is counted as OpenAI counts it', async () => {
  await using claudes = await aiSdkScene(anthropic, answerBlocks([textBlock('a')]));
  await using geminis = await aiSdkScene(google, answerParts([{ text: 'a' }]));
  const usages = [await play(claudes.model, { model: claude }), await play(geminis.model)].map(({ events }) =>
    events.find((event) => event.type === 'usage'),
  );
  expect(usages.map((event) => event?.usage)).toEqual([
    {
      input_tokens: 16,
      input_tokens_details: { cached_tokens: 3, cache_write_tokens: 2 },
      output_tokens: 7,
      output_tokens_details: { reasoning_tokens: 4 },
      total_tokens: 23,
    },
    {
      input_tokens: 11,
      input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 },
      output_tokens: 7,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 18,
    },
  ]);
});
