import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type DemoUpstream, startDemoUpstream } from '../support/demo-upstream.ts';

const key = 'key-of-the-test';
let upstream: DemoUpstream;
let client: OpenAI;

beforeAll(async () => {
  upstream = await startDemoUpstream({ key, models: ['demo', 'demo-2'] });
  client = new OpenAI({ baseURL: upstream.url, apiKey: key, maxRetries: 0 });
});
afterAll(() => upstream.close());

const weather = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'The weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

const asked = (content: string) => ({ model: 'demo', messages: [{ role: 'user' as const, content }] });

describe('the demo model on the wire', () => {
  test('asks for the key and lists models', async () => {
    expect((await client.models.list()).data.map((each) => each.id)).toEqual(['demo', 'demo-2']);
    const wrong = new OpenAI({ baseURL: upstream.url, apiKey: 'no', maxRetries: 0 });
    await expect(wrong.models.list()).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' });
    await expect(
      fetch(`${upstream.url}/nothing`, { headers: { authorization: `Bearer ${key}` } }),
    ).resolves.toMatchObject({ status: 404 });
  });

  test('says the same whole and in chunks', async () => {
    const whole = await client.chat.completions.create(asked('Say something long enough.'));
    expect(whole.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'something long enough.' } });
    const stream = client.chat.completions.stream({
      ...asked('Say something long enough.'),
      stream_options: { include_usage: true },
    });
    const streamed = await stream.finalChatCompletion();
    expect(streamed.choices[0]?.message.content).toBe('something long enough.');
    expect(streamed.usage).toEqual(whole.usage);
    expect(upstream.requests.at(-1)).toMatchObject({
      method: 'POST',
      path: '/v1/chat/completions',
      body: { stream: true },
    });
    expect(upstream.requests.at(-1)?.headers['authorization']).toBe(`Bearer ${key}`);
  });

  test('calls functions in parallel and takes their outputs', async () => {
    for (const stream of [false, true]) {
      const body = { ...asked('The weather in Paris and Rome?'), tools: [weather] };
      const done = stream
        ? await client.chat.completions.stream(body).finalChatCompletion()
        : await client.chat.completions.create(body);
      const calls = done.choices[0]?.message.tool_calls ?? [];
      expect(done.choices[0]?.finish_reason).toBe('tool_calls');
      expect(calls.map((call) => call.type === 'function' && JSON.parse(call.function.arguments))).toEqual([
        { city: 'Paris' },
        { city: 'Rome' },
      ]);
      const outputs = calls.map((call) => ({ role: 'tool' as const, tool_call_id: call.id, content: '20 °C' }));
      const messages = [...body.messages, { role: 'assistant' as const, tool_calls: calls }, ...outputs];
      const answer = await client.chat.completions.create({ ...body, messages });
      expect(answer.choices[0]?.message.content).toBe('get_weather returned: 20 °C\nget_weather returned: 20 °C');
    }
  });

  test('reads system messages, earlier turns, images and formats', async () => {
    const messages = [
      { role: 'system' as const, content: 'Always end with "Arr!"' },
      { role: 'user' as const, content: 'My name is Ada.' },
      { role: 'assistant' as const, content: 'Hello.' },
      { role: 'user' as const, content: [{ type: 'text' as const, text: 'What is my name?' }] },
    ];
    const done = await client.chat.completions.create({ model: 'demo', messages });
    expect(done.choices[0]?.message.content).toBe('Your name is Ada. Arr!');
    const image = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AAAA' } };
    const seen = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: [image] }],
    });
    expect(seen.choices[0]?.message.content).toBe('I was given 1 image: image/png, 3 bytes.');
    const schema = { type: 'object', properties: { age: { type: 'integer' } }, required: ['age'] };
    const typed = await client.chat.completions.create({
      ...asked('I am 36.'),
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    });
    expect(JSON.parse(typed.choices[0]?.message.content ?? '')).toEqual({ age: 36 });
  });

  test.each([
    [
      'demo: refuse',
      {},
      { finish_reason: 'stop', message: { content: null, refusal: expect.stringContaining('refuse') } },
    ],
    ['demo: think', {}, { finish_reason: 'stop', message: { reasoning_content: expect.any(String) } }],
    ['demo: filter', {}, { finish_reason: 'content_filter' }],
    ['demo: empty', {}, { finish_reason: 'stop', message: { content: null } }],
    ['count to 100', { max_completion_tokens: 16 }, { finish_reason: 'length' }],
  ])('%s', async (prompt, fields, choice) => {
    const done = await client.chat.completions.create({ ...asked(prompt), ...fields });
    expect(done.choices[0]).toMatchObject(choice);
    const finishes: unknown[] = [];
    for await (const chunk of await client.chat.completions.create({ ...asked(prompt), ...fields, stream: true })) {
      finishes.push(...chunk.choices.map((each) => each.finish_reason));
      expect(chunk.usage).toBeUndefined();
    }
    expect(finishes.filter((each) => each !== null)).toEqual([choice.finish_reason]);
  });

  test('fails as it is asked to', async () => {
    await expect(client.chat.completions.create(asked('demo: fail'))).rejects.toMatchObject({ status: 500 });
    for (const [prompt, pieces] of [
      ['demo: fail', 0],
      ['demo: fail midway', 1],
    ] as const) {
      let said = 0;
      const read = async () => {
        for await (const chunk of await client.chat.completions.create({ ...asked(prompt), stream: true })) {
          if (chunk.choices[0]?.delta.content) said += 1;
        }
      };
      await expect(read()).rejects.toThrow(/failed/);
      expect(said).toBeGreaterThanOrEqual(pieces);
    }
    await expect(client.post('/chat/completions', { body: { model: 'demo' } })).rejects.toMatchObject({ status: 400 });
  });

  test('stops when the client goes away', async () => {
    const before = upstream.aborted();
    const stream = await client.chat.completions.create({ ...asked('demo: slow'), stream: true });
    stream.controller.abort();
    await vi.waitFor(() => expect(upstream.aborted()).toBe(before + 1));
  });
});
