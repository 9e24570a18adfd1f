import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { routes } from '../../src/http/app.ts';
import { type Json, serve, storeSettings, storeTypes, type TestServer } from '../support/harness.ts';
import { bearer, errorOf, serveOpen, serveVendor } from '../support/open-server.ts';

const model = 'demo';
const secret = 'the owner said this';

type Owned = { readonly response: string; readonly inner: string; readonly conversation: string };

/** Everything that an owner can have: a response of a chain, a conversation with an item and a response. */
async function fill(server: TestServer, headers: Record<string, string>): Promise<Owned> {
  const response = await server.respond({ model, input: secret, store: true }, headers);
  const items = [{ id: 'item_1', role: 'user', content: secret }];
  const conversation = await server.post('/v1/conversations', { items, metadata: { note: secret } }, headers);
  const inner = await server.respond({ model, input: 'on', conversation: conversation.body.id }, headers);
  return { response: response.id, inner: inner.id, conversation: conversation.body.id };
}

async function read(server: TestServer, owned: Owned, headers: Record<string, string>): Promise<Json> {
  const { response, inner, conversation } = owned;
  const paths = [
    `/v1/responses/${response}`,
    `/v1/responses/${response}/input_items`,
    `/v1/responses/${inner}`,
    `/v1/conversations/${conversation}`,
    `/v1/conversations/${conversation}/items`,
    `/v1/conversations/${conversation}/items/item_1`,
  ];
  return Promise.all(
    paths.map(async (path) => {
      const { status, body } = await server.get(path, headers);
      return { path, status, body };
    }),
  );
}

type Attempt = readonly [method: string, route: string, body: Json, code: string];

const attempts: readonly Attempt[] = [
  ['GET', '/v1/responses/:response_id', undefined, '404 null'],
  ['DELETE', '/v1/responses/:response_id', undefined, '404 null'],
  ['GET', '/v1/responses/:response_id/input_items', undefined, '404 null'],
  ['GET', '/v1/conversations/:conversation_id', undefined, '404 null'],
  ['POST', '/v1/conversations/:conversation_id', { metadata: { note: 'mine' } }, '404 null'],
  ['DELETE', '/v1/conversations/:conversation_id', undefined, '404 null'],
  ['GET', '/v1/conversations/:conversation_id/items', undefined, '404 null'],
  ['POST', '/v1/conversations/:conversation_id/items', { items: [{ role: 'user', content: 'x' }] }, '404 null'],
  ['GET', '/v1/conversations/:conversation_id/items/:item_id', undefined, '404 null'],
  ['DELETE', '/v1/conversations/:conversation_id/items/:item_id', undefined, '404 null'],
  ['POST', '/v1/responses', { previous_response_id: ':response_id' }, '400 previous_response_not_found'],
  ['POST', '/v1/responses', { previous_response_id: ':response_id', stream: true }, '400 previous_response_not_found'],
  ['POST', '/v1/responses', { conversation: ':conversation_id' }, '404 null'],
  ['POST', '/v1/responses', { conversation: { id: ':conversation_id' }, store: false }, '404 null'],
  ['POST', '/v1/responses', { conversation: ':conversation_id', stream: true }, '404 null'],
  ['POST', '/v1/responses', { input: [{ type: 'item_reference', id: ':item_id' }] }, '404 null'],
  ['POST', '/v1/conversations', { items: [{ type: 'item_reference', id: ':item_id' }] }, '404 null'],
];

function filled(text: string, owned: Owned): string {
  return text
    .replaceAll(':response_id', owned.response)
    .replaceAll(':conversation_id', owned.conversation)
    .replaceAll(':item_id', 'item_1');
}

describe.each(storeTypes)('tenants on %s', (store) => {
  it.each<[string, Record<string, string>, Record<string, string>]>([
    ['another key', bearer('alice'), bearer('bob')],
    ['a key that differs in case only', bearer('alice'), bearer('Alice')],
    ['nobody', bearer('alice'), {}],
    ['a key named like nobody', {}, bearer('anonymous')],
    ['a key named like a tenant', bearer('alice'), bearer(hash('sha256', 'alice', 'base64url'))],
  ])('%s finds nothing, changes nothing, and can not tell what exists', async (_, owner, other) => {
    const server = await serve(await storeSettings(store));
    const owned = await fill(server, owner);
    const before = await read(server, owned, owner);
    expect(before.map((each: Json) => each.status)).toEqual([200, 200, 200, 200, 200, 200]);
    const absent: Owned = {
      response: owned.response.replace(/.{8}$/, '00000000'),
      inner: '',
      conversation: owned.conversation.replace(/.{8}$/, '00000000'),
    };
    for (const [method, route, body, code] of attempts) {
      const ask = (ids: Owned) =>
        server.send(
          method,
          filled(route, ids),
          body === undefined
            ? undefined
            : filled(JSON.stringify(route === '/v1/responses' ? { model, input: 'x', ...body } : body), ids),
          other,
        );
      const answer = await ask(owned);
      expect(errorOf(answer), `${method} ${route}`).toBe(code);
      expect(JSON.stringify(answer.body)).not.toContain(secret);
      const invented = JSON.stringify((await ask(absent)).body);
      expect(filled(invented, owned).replaceAll('00000000', ''), `${method} ${route}`).toBe(
        JSON.stringify(answer.body)
          .replaceAll(owned.response, absent.response.slice(0, -8))
          .replaceAll(owned.conversation, absent.conversation.slice(0, -8)),
      );
    }
    expect(await read(server, owned, owner)).toEqual(before);
  });
});

it('the table of attempts names every route that has an id', () => {
  const tried = new Set(attempts.map(([method, route]) => `${method} ${route}`));
  const withId = routes.filter(({ path }) => path.includes(':')).map(({ method, path }) => `${method} ${path}`);
  expect(withId.filter((route) => !tried.has(route))).toEqual([]);
});

it('the same item id in two tenants stays two items', async () => {
  const server = await serve();
  const mine = await fill(server, bearer('alice'));
  const theirs = await fill(server, bearer('bob'));
  await server.delete(`/v1/conversations/${theirs.conversation}/items/item_1`, bearer('bob'));
  const item = await server.get(`/v1/conversations/${mine.conversation}/items/item_1`, bearer('alice'));
  expect(item.body.content[0].text).toBe(secret);
});

describe('credentials', () => {
  it.each([
    'Basic YWxpY2U6eA==',
    'Token alice',
    'alice',
    'Beareralice',
    'Bearer,alice',
    'Digest username="alice"',
    'Negotiate',
  ])('the scheme of %j is refused, also where no key is needed', async (authorization) => {
    const server = await serve();
    for (const path of ['/v1/models', '/v1/responses/resp_1', '/v1/nothing']) {
      const answer = await server.get(path, { authorization });
      expect(errorOf(answer)).toBe('401 invalid_api_key');
      expect(JSON.stringify(answer.body)).not.toContain('alice');
    }
  });

  it.each(['bearer alice', 'BEARER alice', 'Bearer    alice', 'Bearer\talice'])('%j is the key alice', async (text) => {
    const server = await serve();
    const { id } = await server.respond({ model, input: 'x', store: true }, bearer('alice'));
    expect((await server.get(`/v1/responses/${id}`, { authorization: text })).status).toBe(200);
  });

  it.each(['', 'Bearer', 'Bearer '])('%j is nobody on loopback, and refused beyond', async (authorization) => {
    const server = await serve();
    const { id } = await server.respond({ model, input: 'x', store: true });
    expect((await server.get(`/v1/responses/${id}`, { authorization })).status).toBe(200);
    const { server: open } = await serveVendor({ keys: ['good'] });
    expect(errorOf(await open.get('/v1/models', { authorization }))).toBe('401 invalid_api_key');
  });

  it('a key of odd characters neither breaks anything nor is somebody else', async () => {
    const server = await serve();
    const odd = { authorization: 'Bearer kéy ü \u00ff;="' };
    const { id } = await server.respond({ model, input: 'x', store: true }, odd);
    expect((await server.get(`/v1/responses/${id}`, odd)).status).toBe(200);
    expect((await server.get(`/v1/responses/${id}`, bearer('kéy ü'))).status).toBe(404);
  });

  it('auth.mode=none beyond loopback: no key is needed, and keys still tell tenants apart', async () => {
    const server = await serveOpen({ 'auth.mode': 'none' });
    const owned = await fill(server, {});
    expect((await server.get(`/v1/conversations/${owned.conversation}`)).status).toBe(200);
    expect((await server.get(`/v1/conversations/${owned.conversation}`, bearer('bob'))).status).toBe(404);
    const bobs = await fill(server, bearer('bob'));
    expect((await server.get(`/v1/responses/${bobs.response}`)).status).toBe(404);
    expect((await server.get(`/v1/responses/${bobs.response}`, bearer('bob'))).status).toBe(200);
  });

  it('passthrough beyond loopback: every route needs a key, but those that anybody may ask', async () => {
    const { server, upstream, rows } = await serveVendor({ keys: ['good'] });
    const before = rows();
    const asked = upstream.requests.length;
    for (const { method, path, isOpen } of routes) {
      const body = method === 'POST' ? { model: 'm', input: 'x' } : undefined;
      const answer = await server.send(method, path.replace('*', 'm'), body);
      if (isOpen === true) expect(answer.status, path).toBe(200);
      else expect(errorOf(answer), `${method} ${path}`).toBe('401 invalid_api_key');
    }
    expect(errorOf(await server.get('/v1/nothing'))).toBe('401 invalid_api_key');
    expect(upstream.requests.length).toBe(asked);
    expect(rows()).toBe(before);
  });
});
