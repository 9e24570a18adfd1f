import { randomBytes } from 'node:crypto';
import { countTokens as countCl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { countTokens as countO200k } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Answer, type Json, serve, storeTypes, type TestServer } from '../support/harness.ts';
import { serveOpen } from '../support/open-server.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerStatus, chunk, cutAtOnce, hang, hangAfter, startUpstream } from '../support/upstream.ts';

const path = '/v1/responses/input_tokens';
const counted = 'x-open-responses-token-count';

const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'Tells the weather of a city.',
  parameters: { type: 'object', properties: { city: { type: 'string', enum: ['Oslo', 'Rome'] } } },
};
const image = { type: 'input_image', image_url: 'https://example.com/a.png' };
const call = { type: 'function_call', call_id: 'c', name: 'f', arguments: '{"a":1}' };
const output = { type: 'function_call_output', call_id: 'c', output: 'sunny' };

/** What was counted, and how. */
async function count(server: TestServer, body: unknown, headers: Record<string, string> = {}) {
  const answer = await server.post(path, body, headers);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  expect(Object.keys(answer.body).sort()).toEqual(['input_tokens', 'object']);
  expect(answer.body.object).toBe('response.input_tokens');
  expect(Number.isSafeInteger(answer.body.input_tokens)).toBe(true);
  return { tokens: answer.body.input_tokens, by: answer.headers.get(counted) };
}

const errorIn = ({ status, body }: Answer) => [status, body.error.code, body.error.param, body.error.message];

describe.each(storeTypes)('what demo would be given, on %s', (store) => {
  const bodies: readonly (readonly [string, object])[] = [
    ['a text', { input: 'Hello there' }],
    ['items', { input: [{ role: 'user', content: 'a' }, call, output, { role: 'user', content: [image] }] }],
    ['instructions', { input: 'x', instructions: 'Be brief, and kind.' }],
    ['tools', { input: 'What is the weather in Oslo?', tools: [weather] }],
    [
      'the tools that are allowed',
      {
        input: 'x',
        tools: [weather, { type: 'function', name: 'other', description: 'Does something else' }],
        tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'get_weather' }] },
      },
    ],
    ['what changes nothing', { input: 'x', truncation: 'auto', reasoning: { effort: 'low' }, text: {} }],
  ];

  it('is what its usage says', async () => {
    const { server } = await serveScripted(hang, {}, store);
    for (const [name, body] of bodies) {
      const { usage } = await server.respond({ model: 'demo', ...body });
      expect(await count(server, { model: 'demo', ...body }), name).toEqual({
        tokens: usage.input_tokens,
        by: 'exact',
      });
    }
  });

  it('has the context of a response or of a conversation, and leaves both as they were', async () => {
    const { server } = await serveScripted(hang, {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {
      items: [{ role: 'user', content: 'My name is Ada.', id: 'i1' }],
    });
    const first = await server.respond({ model: 'demo', input: 'one two three', store: true });
    for (const context of [{ conversation: conversation.id }, { previous_response_id: first.id }]) {
      const body = { model: 'demo', input: 'And then?', ...context };
      const { tokens } = await count(server, body);
      expect(tokens).toBeGreaterThan((await count(server, { model: 'demo', input: 'And then?' })).tokens);
      expect(tokens).toBe((await server.respond({ ...body, store: false })).usage.input_tokens);
      // The context alone.
      const alone = await count(server, { model: 'demo', ...context });
      expect(alone.tokens).toBeLessThan(tokens);
      expect(alone.tokens).toBeGreaterThan(0);
    }
    const { body } = await server.get(`/v1/conversations/${conversation.id}/items`);
    expect(body.data.map((item: Json) => item.id)).toEqual(['i1']);
  });

  it('can be counted while the conversation is locked, and takes no lock', async () => {
    const { server } = await serveScripted(hangAfter([chunk({ content: 'slow' })]), {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {
      items: [{ role: 'user', content: 'My name is Ada.', id: 'i1' }],
    });
    const body = { model: 'demo', input: 'x', conversation: conversation.id };
    const before = await count(server, body);
    const open = await server.open({ ...body, model: 'm' });
    await open.until('response.created');
    expect((await server.post('/v1/responses', body)).body.error.code).toBe('conversation_locked');
    expect(await count(server, body)).toEqual(before);
    open.leave();
  });

  it("is nobody else's", async () => {
    const { server } = await serveScripted(hang, {}, store);
    const mine = { authorization: 'Bearer mine' };
    const { body: conversation } = await server.post(
      '/v1/conversations',
      { items: [{ role: 'user', content: 'a' }] },
      mine,
    );
    const response = await server.respond({ model: 'demo', input: 'x', store: true }, mine);
    for (const context of [{ conversation: conversation.id }, { previous_response_id: response.id }]) {
      const body = { model: 'demo', input: 'x', ...context };
      const unknown = JSON.parse(JSON.stringify(body).replace(/_[0-9a-f]{8}/, '_00000000'));
      const theirs = await server.post(path, body, { authorization: 'Bearer theirs' });
      const none = await server.post(path, unknown, mine);
      expect(theirs.status).toBe(none.status);
      expect(theirs.body.error.code).toBe(none.body.error.code);
      await count(server, body, mine);
    }
  });
});

describe('without an upstream that counts', () => {
  const user = (...content: object[]) => ({ input: [{ role: 'user', content }] });
  // Three tokens for a message and one for its role, and three for the answer to come.
  const message = 4;
  const answer = 3;

  it.each([
    ['up/gpt-4o', countO200k],
    ['up/gpt-5.1-codex', countO200k],
    ['up/o3-mini', countO200k],
    ['up/openai/gpt-oss-120b', countO200k],
    ['up/gpt-4-turbo', countCl100k],
    ['up/gpt-3.5-turbo', countCl100k],
  ])('%s is counted with its vocabulary', async (model, tokens) => {
    const { server, upstream } = await serveScripted(hang);
    const text = 'Größenwahn, 日本語 and 1234567 <|endoftext|> words 🙂';
    const sent = { model, input: text, instructions: 'Be brief.' };
    const expected = tokens(text, { disallowedSpecial: new Set() }) + tokens('Be brief.') + 2 * message + answer;
    expect(await count(server, sent)).toEqual({ tokens: expected, by: 'tokenizer' });
    const called = await count(server, { model, input: [{ role: 'user', content: text }, call, output] });
    const calls = tokens('f') + tokens('{"a":1}') + tokens('sunny') + 2 * message;
    expect(called).toEqual({ tokens: expected - tokens('Be brief.') - message + calls, by: 'tokenizer' });
    // Nobody is asked.
    expect(upstream.requests).toEqual([]);
  });

  it('functions cost what their texts and properties do', async () => {
    const { server } = await serveScripted(hang);
    const body = { model: 'gpt-4o', input: 'x' };
    const plain = await count(server, body);
    const tool = await count(server, { ...body, tools: [weather] });
    const texts = ['get_weather:Tells the weather of a city', 'city:string:', 'Oslo', 'Rome'];
    const sum = texts.reduce((total, text) => total + countO200k(text), 0);
    // A function, its properties, one property, an enum of two values, the end of all tools.
    expect(tool.tokens - plain.tokens).toBe(sum + 7 + 3 + 3 - 3 + 2 * 3 + 12);
    expect(tool.by).toBe('tokenizer');
    const group = { type: 'namespace', name: 'crm', description: 'Customers', tools: [weather] };
    expect((await count(server, { ...body, tools: [group] })).tokens).toBeGreaterThan(tool.tokens);
    const format = { type: 'json_schema', name: 'person', schema: weather.parameters };
    expect((await count(server, { ...body, text: { format } })).tokens).toBeGreaterThan(plain.tokens);
  });

  it('deep and wide schemas are counted too', async () => {
    const { server } = await serveScripted(hang);
    let schema: Json = { type: 'string', enum: Array.from({ length: 200_000 }, (_, index) => index) };
    for (let depth = 0; depth < 100; depth += 1) schema = { type: 'object', properties: { a: schema } };
    const { tokens } = await count(server, {
      model: 'm',
      tools: [{ type: 'function', name: 'f', parameters: schema }],
    });
    expect(tokens).toBeGreaterThan(200_000 * 3);
  });

  it.each<[string, Json]>([
    ['another model', { model: 'llama-4', input: 'Hello there' }],
    ['a family that is not known', { model: 'gpt-99', input: 'Hello there' }],
    ['no model', { input: 'Hello there' }],
    ['an image', { model: 'gpt-4o', ...user({ type: 'input_text', text: 'Hello there' }, image) }],
    ['a file', { ...user({ type: 'input_file', file_data: 'data:text/plain,abc', filename: 'a' }) }],
    ['a personality', { model: 'gpt-4o', input: 'Hello there', personality: 'friendly' }],
    ['a tool that runs upstream, and no model', { input: 'x', tools: [{ type: 'web_search' }] }],
    ['an item of such a tool', { input: [{ type: 'web_search_call', id: 'ws_1', status: 'completed' }] }],
  ])('%s gives an estimate', async (_name, body) => {
    const { server, upstream } = await serveScripted(hang);
    const { tokens, by } = await count(server, body);
    expect(by).toBe('estimate');
    expect(tokens).toBeGreaterThan(message);
    expect(tokens).toBeLessThan(2_000);
    expect(upstream.requests).toEqual([]);
  });

  it('nothing at all is the frame of an answer', async () => {
    const { server } = await serveScripted(hang);
    const { body: conversation } = await server.post('/v1/conversations', {});
    for (const body of [undefined, {}, { input: [] }, { model: 'm', input: null }, { conversation: conversation.id }]) {
      expect(await count(server, body), JSON.stringify(body)).toEqual({ tokens: answer, by: 'estimate' });
    }
  });

  it('images cost by their detail', async () => {
    const { server } = await serveScripted(hang);
    const of = async (...content: object[]) => (await count(server, { model: 'gpt-4o', ...user(...content) })).tokens;
    const none = await of({ type: 'input_text', text: 'x' });
    expect((await of({ type: 'input_text', text: 'x' }, image)) - none).toBe(765);
    expect((await of({ type: 'input_text', text: 'x' }, { ...image, detail: 'low' })) - none).toBe(85);
  });

  it('ten megabytes without a blank are counted or guessed, and others are served meanwhile', async () => {
    const { server } = await serveScripted(hang);
    await count(server, { model: 'gpt-4o', input: 'x' });
    const word = randomBytes(5_000_000)
      .toString('hex')
      .replace(/\d/g, (digit) => 'qwzxjkvbpy'[Number(digit)] ?? '');
    let isCounted = false;
    const counting = count(server, { model: 'gpt-4o', input: word }).finally(() => {
      isCounted = true;
    });
    const small = await count(server, { model: 'gpt-4o', input: 'Hello there' });
    expect(small).toEqual({ tokens: countO200k('Hello there') + message + answer, by: 'tokenizer' });
    let served = 0;
    while (!isCounted) {
      expect((await server.get('/healthz')).status).toBe(200);
      served += 1;
    }
    const { tokens } = await counting;
    expect(tokens).toBeGreaterThan(word.length / 20);
    expect(tokens).toBeLessThan(word.length);
    expect(served).toBeGreaterThan(0);
  });
});

describe('an upstream that counts', () => {
  const serveNative = async (script: Parameters<typeof startUpstream>[0], settings: Record<string, string> = {}) => {
    const upstream = await startUpstream(script);
    onTestFinished(() => upstream.close());
    const native = { 'providers.up.profile': 'openai', 'providers.up.api': 'responses', 'providers.up.api-key': 'k' };
    const base = { ...native, 'providers.up.base-url': upstream.url, 'upstream.max-retries': '0' };
    return { upstream, server: await serve({ ...base, ...settings }) };
  };
  const body = { model: 'up/gpt-4o', input: 'Hello there' };

  it('is asked, with the whole context, and believed', async () => {
    const { server, upstream } = await serveNative((reply) => reply.json({ input_tokens: 42 }));
    const { body: conversation } = await server.post('/v1/conversations', {
      items: [{ role: 'user', content: 'My name is Ada.' }],
    });
    const sent = { ...body, conversation: conversation.id, personality: null };
    expect(await count(server, sent)).toEqual({ tokens: 42, by: 'exact' });
    const [request] = upstream.requests;
    expect(request?.path).toBe('/v1/responses/input_tokens');
    expect(request?.raw).toContain('Ada');
    expect(request?.body).not.toHaveProperty('conversation');
    expect(await count(server, { ...sent, personality: 'pragmatic' })).toEqual({ tokens: 42, by: 'estimate' });
  });

  it.each([404, 405])('that answers %i leaves it to the tokenizer', async (status) => {
    const { server } = await serveNative(answerStatus(status, { error: { message: 'no such thing' } }));
    expect((await count(server, body)).by).toBe('tokenizer');
    expect((await count(server, { ...body, model: 'up/other' })).by).toBe('estimate');
  });

  it.each([
    ['its credentials', answerStatus(401), 502, null],
    ['a limit', answerStatus(429, '', { 'retry-after': '2' }), 429, 'rate_limit_exceeded'],
    ['a bad request', answerStatus(400, { error: { message: 'no', code: 'odd' } }), 400, 'odd'],
    ['a failure', answerStatus(500), 502, null],
    ['no answer', cutAtOnce, 503, null],
    ['nonsense', answerStatus(200, { input_tokens: 'many' }), 502, null],
  ])('that fails is an error as from a call (R14): %s', async (_name, script, status, code) => {
    const { server } = await serveNative(script);
    const answer = await server.post(path, body);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    expect(answer.headers.has(counted)).toBe(false);
  });

  it('is let go when the client leaves', async () => {
    const { server, upstream } = await serveNative(hang);
    const abort = new AbortController();
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const asked = fetch(`${server.url}${path}`, { ...init, signal: abort.signal });
    const request = await upstream.request();
    abort.abort();
    await expect(asked).rejects.toThrow();
    await request.gone;
  });
});

describe('a request', () => {
  it.each<[string, Json]>([
    ['of a wrong type', { input: 5 }],
    ['with a wrong item', { input: [{ role: 'tool', content: 'x' }] }],
    ['with a wrong tool', { input: 'x', tools: [{ type: 'function', name: 'a b' }] }],
    ['with a choice of no tool', { input: 'x', tool_choice: 'required' }],
    ['with a choice of another tool', { input: 'x', tools: [weather], tool_choice: { type: 'function', name: 'g' } }],
    ['with two contexts', { input: 'x', previous_response_id: 'resp_1', conversation: 'conv_1' }],
    ['with an unknown response', { input: 'x', previous_response_id: 'resp_1' }],
    ['with an unknown conversation', { input: 'x', conversation: 'conv_1' }],
    ['with an unknown item', { input: [{ type: 'item_reference', id: 'msg_1' }] }],
    ['with an output without a call', { input: [output] }],
    ['with a call without an output', { input: [call] }],
    ['with an unknown field', { input: 'x', nothing: 1 }],
    ['with an effort that does not exist', { input: 'x', reasoning: { effort: 'much' } }],
    ['with a format of no kind', { input: 'x', text: { format: { type: 'xml' } } }],
    ['for a model that can’t do it', { input: 'x', text: { verbosity: 'low' }, model: 'up/m' }],
    ['with an empty name of a model', { input: 'x', model: '' }],
  ])('%s is refused as POST /responses refuses it', async (_name, body) => {
    const { server } = await serveScripted(hang, { 'providers.up.profile': 'ollama' });
    const sent = { model: 'demo', ...body };
    const refused = errorIn(await server.post('/v1/responses', sent));
    expect(refused[0]).toBeGreaterThanOrEqual(400);
    expect(errorIn(await server.post(path, sent))).toEqual(refused);
  });

  it('R16 with unknown fields is served where the operator says so; null and client_metadata always are', async () => {
    const { server } = await serveScripted(hang);
    const body = { model: 'demo', input: 'x' };
    const plain = await count(server, body);
    const ignored = { client_metadata: { a: 1 }, nothing: null, tools: null, text: null, truncation: null };
    expect(await count(server, { ...body, ...ignored })).toEqual(plain);
    expect((await server.post(path, { ...body, temperature: 1 })).body.error.code).toBe('unknown_parameter');
    const { server: lenient } = await serveScripted(hang, { 'http.unknown-fields': 'ignore' });
    expect(await count(lenient, { ...body, temperature: 1, nothing: 1 })).toEqual(plain);
  });

  it('names what was left out for the model', async () => {
    const { server } = await serveScripted(hang, { 'providers.up.profile': 'ollama', 'upstream.unsupported': 'drop' });
    const answer = await server.post(path, { model: 'up/m', input: 'x', text: { verbosity: 'low' } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-open-responses-dropped')).toBe('text.verbosity');
  });

  it('that is too long for the server is too long to count', async () => {
    const { server } = await serveScripted(hang, { 'context.max-bytes': '1KiB' });
    const answer = await server.post(path, { model: 'gpt-4o', input: 'x'.repeat(2_000) });
    expect(answer.body.error.code).toBe('context_length_exceeded');
  });

  it('needs a key beyond loopback', async () => {
    const server = await serveOpen();
    expect((await server.post(path, { input: 'x' })).status).toBe(401);
    const { by } = await count(server, { input: 'x' }, { authorization: 'Bearer k' });
    expect(by).toBe('estimate');
  });
});

it("is what OpenAI's SDK calls", async () => {
  const server = await serve();
  const client = server.client();
  const counted = await client.responses.inputTokens.count({ model: 'demo', input: 'Hello there', tools: [] });
  const { usage } = await client.responses.create({ model: 'demo', input: 'Hello there' });
  expect(counted).toEqual({ object: 'response.input_tokens', input_tokens: usage?.input_tokens });
  expect((await client.responses.inputTokens.count()).input_tokens).toBe(3);
});
