import { describe, expect, it } from 'vitest';
import { routes } from '../../src/http/app.ts';
import { type Json, serve, storeSettings, storeTypes, type TestServer } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';
import { RawSocket } from '../support/raw-socket.ts';

/** Paths as they are: fetch would tidy them up. */
async function ask(
  server: TestServer,
  method: string,
  path: string,
): Promise<{ status: number; body: Json; allow: string }> {
  const socket = await RawSocket.open(server.url);
  socket.send(`${method} ${path} HTTP/1.1`, ['host: localhost', 'connection: close']);
  const { status, body, headers } = await socket.answer();
  expect(headers['x-request-id']).toMatch(/^req_/);
  expect(headers['content-type']).toContain('application/json');
  return { status, body, allow: headers['allow'] ?? '' };
}

it.each([
  ['GET', '/'],
  ['GET', '/v1'],
  ['GET', '/v2/models'],
  ['GET', '/V1/models'],
  ['GET', '/v1//models'],
  ['GET', '//v1/models'],
  ['GET', '/v1/../v1/models'],
  ['GET', '/v1/models%2F..'],
  ['GET', '/v1/responses'],
  ['POST', '/v1/responses/compact'],
  ['POST', '/v1/responses/compact/'],
  ['POST', '/v1/responses/resp_1/cancel'],
  ['GET', '/v1/responses/resp_1/output'],
  ['GET', '/v1/files'],
  ['POST', '/v1/files'],
  ['GET', '/v1/vector_stores/vs_1/files'],
  ['POST', '/v1/embeddings'],
  ['POST', '/v1/chat/completions'],
  ['POST', '/v1/completions'],
  ['GET', '/v1/conversations/conv_1/items/msg_1/more'],
  ['PROPFIND', '/anything'],
])('%s %s is an unknown route, named', async (method, path) => {
  const answer = await ask(await serve(), method, path);
  expect(errorOf(answer)).toBe('404 unknown_url');
  expect(answer.body.error.message).toBe(`Unknown request URL: ${method} ${path.replace(/(.)\/$/, '$1')}.`);
  expect(answer.allow).toBe('');
});

it('what is named is cut, and without its query', async () => {
  const answer = await ask(await serve(), 'GET', `/v1/${'x'.repeat(5_000)}?key=secret`);
  expect(errorOf(answer)).toBe('404 unknown_url');
  expect(answer.body.error.message.length).toBeLessThan(300);
  expect(answer.body.error.message).not.toContain('secret');
});

it.each([
  ['PUT', '/v1/responses', 'POST'],
  ['DELETE', '/v1/responses', 'POST'],
  ['PATCH', '/v1/responses/resp_1', 'GET, DELETE'],
  ['POST', '/v1/responses/resp_1', 'GET, DELETE'],
  ['POST', '/v1/responses/resp_1/input_items', 'GET'],
  ['GET', '/v1/conversations', 'POST'],
  ['PUT', '/v1/conversations/conv_1', 'GET, POST, DELETE'],
  ['PATCH', '/v1/conversations/conv_1/items/', 'GET, POST'],
  ['POST', '/v1/conversations/conv_1/items/msg_1', 'GET, DELETE'],
  ['POST', '/v1/models', 'GET'],
  ['DELETE', '/v1/models/a', 'GET'],
  ['DELETE', '/v1/models/a/b', 'GET'],
  ['OPTIONS', '/v1/models', 'GET'],
  ['POST', '/healthz', 'GET'],
])('%s %s is not allowed, with the methods that are', async (method, path, allow) => {
  const answer = await ask(await serve(), method, path);
  expect(errorOf(answer)).toBe('405 method_not_allowed');
  expect(answer.allow).toBe(allow);
});

it('every route answers with a slash behind it too, and HEAD like GET without a body', async () => {
  const server = await serve();
  const { body: conversation } = await server.post('/v1/conversations/', {
    items: [{ id: 'i', role: 'user', content: 'x' }],
  });
  const { id } = await server.respond({ model: 'demo', input: 'x', store: true });
  const ids: Record<string, string> = { conversation_id: conversation.id, response_id: id, item_id: 'i' };
  for (const { method, path } of routes) {
    if (method !== 'GET') continue;
    const real = path.replace(/:(\w+)/g, (_, name: string) => ids[name] ?? '').replace('*', 'demo');
    const plain = await server.get(real);
    expect(plain.status, real).toBe(200);
    expect((await server.get(`${real}/`)).body, real).toEqual(plain.body);
    const head = await server.send('HEAD', real);
    expect(head.status, real).toBe(200);
    expect(head.body).toBe('');
  }
  expect((await server.send('HEAD', '/v1/responses/resp_1')).status).toBe(404);
});

describe.each(storeTypes)('ids of every kind on %s', (store) => {
  const ids = [
    '%7B%22$ne%22:1%7D',
    '%5Bobject%20Object%5D',
    "'%20OR%20'1'='1",
    "x';DROP%20TABLE%20entries;--",
    '%00',
    'resp_1%00',
    'a%2Fb',
    '..%2F..%2Fetc%2Fpasswd',
    '%2e%2e',
    '%F0%9F%98%80',
    '%EF%BB%BF',
    '%0d%0aset-cookie:%20a=b',
    '__proto__',
    'constructor',
    '*',
    ':response_id',
    'null',
    'undefined',
    '0',
    '-1',
    'x'.repeat(500),
  ];

  it('name nothing', async () => {
    const server = await serve(await storeSettings(store));
    const { body: conversation } = await server.post('/v1/conversations', { items: [{ role: 'user', content: 'x' }] });
    for (const id of ids) {
      for (const [method, path] of [
        ['GET', `/v1/responses/${id}`],
        ['DELETE', `/v1/responses/${id}`],
        ['GET', `/v1/responses/${id}/input_items`],
        ['GET', `/v1/conversations/${id}`],
        ['DELETE', `/v1/conversations/${id}`],
        ['GET', `/v1/conversations/${id}/items`],
        ['GET', `/v1/conversations/${id}/items/${id}`],
        ['DELETE', `/v1/conversations/${id}/items/${id}`],
        ['GET', `/v1/conversations/${conversation.id}/items/${id}`],
        ['DELETE', `/v1/conversations/${conversation.id}/items/${id}`],
      ] as const) {
        expect(errorOf(await ask(server, method, path)), `${method} ${path}`).toBe('404 null');
      }
      const decoded = decodeURIComponent(id);
      expect(
        (await server.post('/v1/responses', { model: 'demo', input: 'x', previous_response_id: decoded })).status,
      ).toBe(400);
      const used = await server.post('/v1/responses', { model: 'demo', input: 'x', conversation: decoded });
      expect([400, 404], decoded).toContain(used.status);
    }
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toHaveLength(1);
  });

  it('longer than any id are unknown routes; what is no text is no URL', async () => {
    const server = await serve(await storeSettings(store));
    for (const place of ['/v1/responses/', '/v1/conversations/', '/v1/conversations/conv_1/items/']) {
      for (const [method, id, code] of [
        ['GET', 'x'.repeat(5_000), '404 unknown_url'],
        ['DELETE', 'x'.repeat(5_000), '404 unknown_url'],
        ['GET', '%', '400 null'],
        ['GET', '%zz', '400 null'],
        ['GET', '%ff', '400 null'],
        ['DELETE', '%c3%28', '400 null'],
        ['GET', '%ed%a0%80', '400 null'],
        ['GET', '%c0%af', '400 null'],
      ] as const) {
        const answer = await ask(server, method, place + id);
        expect(errorOf(answer), place + id.slice(0, 20)).toBe(code);
        expect(answer.body.error.message.length).toBeLessThan(300);
      }
    }
  });
});

describe('queries', () => {
  const lists = ['/v1/conversations/CONV/items', '/v1/responses/RESP/input_items'];

  async function filled(): Promise<{ server: TestServer; paths: string[] }> {
    const server = await serve();
    const items = ['a', 'b', 'c'].map((id) => ({ id, role: 'user', content: id }));
    const { body: conversation } = await server.post('/v1/conversations', { items });
    const response = await server.respond({ model: 'demo', input: items, store: true });
    return { server, paths: lists.map((path) => path.replace('CONV', conversation.id).replace('RESP', response.id)) };
  }

  it.each([
    ['limit=0', 'integer_below_min_value', 'limit'],
    ['limit=101', 'integer_above_max_value', 'limit'],
    ['limit=-1', 'integer_below_min_value', 'limit'],
    ['limit=abc', 'invalid_type', 'limit'],
    ['limit=1.5', 'invalid_type', 'limit'],
    ['limit=1e999', 'invalid_type', 'limit'],
    ['limit=NaN', 'invalid_type', 'limit'],
    ['order=x', 'invalid_value', 'order'],
    ['order=ASC', 'invalid_value', 'order'],
    ['order=', 'invalid_value', 'order'],
    [`after=${'x'.repeat(300)}`, 'string_above_max_length', 'after'],
    ['before=a', 'unknown_parameter', 'before'],
    ['Limit=1', 'unknown_parameter', 'Limit'],
    ['__proto__=1', 'unknown_parameter', '__proto__'],
    ['limit=1&limit=1000', 'integer_above_max_value', 'limit'],
    ['include=nothing', 'invalid_value', 'include[0]'],
    ['include=', 'invalid_value', 'include[0]'],
    ['include[]=message.output_text.logprobs&include[]=x', 'invalid_value', 'include[1]'],
  ])('%s is refused as %s', async (query, code, param) => {
    const { server, paths } = await filled();
    for (const path of paths) {
      const answer = await server.get(`${path}?${query}`);
      expect(errorOf(answer), path).toBe(`400 ${code}`);
      expect(answer.body.error.param).toBe(param);
    }
  });

  it('an item that is not in the list can not be what comes before', async () => {
    const { server, paths } = await filled();
    for (const path of paths) {
      for (const after of ['nothing', '%00', "'%20OR%201=1", '%7B%22$gt%22:%22%22%7D']) {
        const answer = await server.get(`${path}?after=${after}`);
        expect(errorOf(answer), path).toBe('404 null');
        expect(answer.body.error.param).toBe('after');
      }
    }
  });

  it.each([
    ['', ['c', 'b', 'a']],
    ['?', ['c', 'b', 'a']],
    ['?limit=2', ['c', 'b']],
    ['?limit=2&limit=1', ['c']],
    ['?limit=100&order=asc', ['a', 'b', 'c']],
    ['?order=asc&after=a&limit=1', ['b']],
    ['?include=message.output_text.logprobs', ['c', 'b', 'a']],
    ['?include[]=message.output_text.logprobs&include[]=reasoning.encrypted_content', ['c', 'b', 'a']],
    ['?include%5B%5D=message.output_text.logprobs', ['c', 'b', 'a']],
    ['?include[0]=message.output_text.logprobs', ['c', 'b', 'a']],
  ])('%j is read', async (query, ids) => {
    const { server, paths } = await filled();
    for (const path of paths) {
      const answer = await server.get(path + query);
      expect(
        answer.body.data?.map((each: Json) => each.id),
        path,
      ).toEqual(ids);
    }
  });

  it('unknown names are refused where a single thing is asked for', async () => {
    const server = await serve();
    const { id } = await server.respond({ model: 'demo', input: 'x', store: true });
    const { body: conversation } = await server.post('/v1/conversations', {});
    for (const [method, path, body] of [
      ['GET', `/v1/responses/${id}`, undefined],
      ['DELETE', `/v1/responses/${id}`, undefined],
      ['POST', `/v1/conversations/${conversation.id}/items`, { items: [] }],
    ] as const) {
      const answer = await server.send(method, `${path}?nonsense=1`, body);
      expect(errorOf(answer), path).toBe('400 unknown_parameter');
    }
    expect((await server.get(`/v1/responses/${id}`)).status).toBe(200);
  });

  it.each([
    ['stream=true', 'unsupported_value'],
    ['stream=1', 'invalid_value'],
    ['starting_after=-1', 'integer_below_min_value'],
    ['starting_after=x', 'invalid_type'],
  ])('reading a response with %s is refused', async (query, code) => {
    const server = await serve();
    const { id } = await server.respond({ model: 'demo', input: 'x', store: true });
    expect(errorOf(await server.get(`/v1/responses/${id}?${query}`))).toBe(`400 ${code}`);
    expect((await server.get(`/v1/responses/${id}?stream=false&include=reasoning.encrypted_content`)).status).toBe(200);
  });
});
