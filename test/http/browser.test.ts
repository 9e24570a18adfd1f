import { describe, expect, it } from 'vitest';
import { type Answer, type Json, serve, type TestServer } from '../support/harness.ts';
import { bearer, errorOf, serveOpen, serveVendor } from '../support/open-server.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerStatus } from '../support/upstream.ts';

const allowed = 'https://app.example';
const cors = { 'http.cors-origins': `${allowed}, http://localhost:3000` };

function corsNames(headers: Headers): string[] {
  return [...headers.keys()].filter((name) => name.startsWith('access-control-'));
}

const requests: readonly [method: string, path: string, body?: Json][] = [
  ['GET', '/v1/models'],
  ['GET', '/v1/responses/resp_1'],
  ['HEAD', '/v1/models'],
  ['POST', '/v1/responses', { model: 'demo', input: 'x', store: true }],
  ['POST', '/v1/responses', { model: 'demo', input: 'x', stream: true }],
  ['POST', '/v1/conversations', {}],
  ['DELETE', '/v1/conversations/conv_1'],
  ['PUT', '/v1/responses'],
  ['OPTIONS', '/v1/responses'],
  ['GET', '/v1/nothing'],
];

const foreign = [
  'https://evil.example',
  'null',
  'http://app.example',
  'https://app.example:8443',
  'https://app.example.evil.example',
  'https://sub.app.example',
  'https://APP.example',
  'https://app.example/',
  'http://localhost:3001',
  'http://127.0.0.1',
];

async function expectOriginRefused(server: TestServer, origin: string, headers: Record<string, string> = {}) {
  for (const [method, path, body] of requests) {
    const answer = await server.send(method, path, body, { ...headers, origin });
    expect(answer.status, `${method} ${path}`).toBe(403);
    if (method !== 'HEAD') expect(errorOf(answer)).toBe('403 origin_not_allowed');
    expect(corsNames(answer.headers)).toEqual([]);
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
  }
}

describe('a web page of an origin that is not allowed', () => {
  it.each(foreign)('%s is refused on loopback, whatever it asks', async (origin) => {
    await expectOriginRefused(await serve(cors), origin);
  });

  it.each(foreign.slice(0, 3))('%s is refused where nothing is allowed', async (origin) => {
    await expectOriginRefused(await serve(), origin);
  });

  it('is refused with a key too, and with auth.mode=none beyond loopback', async () => {
    await expectOriginRefused(await serve(), 'https://evil.example', bearer('k'));
    await expectOriginRefused(await serveOpen({ 'auth.mode': 'none' }), 'https://evil.example');
  });

  it('gets no permission by a preflight', async () => {
    const server = await serve(cors);
    const asked = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
    const answer = await server.send('OPTIONS', '/v1/responses', undefined, asked);
    expect(errorOf(answer)).toBe('403 origin_not_allowed');
    expect(corsNames(answer.headers)).toEqual([]);
  });

  it('changes nothing by what it sent', async () => {
    const { server, upstream } = await serveScripted();
    const page = { origin: 'https://evil.example', 'content-type': 'text/plain' };
    const { body: conversation } = await server.post('/v1/conversations', {});
    await server.post('/v1/responses', { model: 'm', input: 'x' }, page);
    await server.delete(`/v1/conversations/${conversation.id}`, page);
    expect(upstream.requests).toEqual([]);
    expect((await server.get(`/v1/conversations/${conversation.id}`)).status).toBe(200);
  });

  it('where a key is needed it may ask, as anybody may, but its scripts can not read the answer', async () => {
    const { server } = await serveVendor({ keys: ['good'] });
    const page = { origin: 'https://evil.example' };
    const answer = await server.get('/v1/models', { ...bearer('good'), ...page });
    expect(answer.status).toBe(200);
    expect(corsNames(answer.headers)).toEqual([]);
    expect(errorOf(await server.get('/v1/models', page))).toBe('401 invalid_api_key');
    const asked = { ...page, 'access-control-request-method': 'POST' };
    const preflight = await server.send('OPTIONS', '/v1/responses', undefined, asked);
    expect(errorOf(preflight)).toBe('405 method_not_allowed');
    expect(corsNames(preflight.headers)).toEqual([]);
  });
});

describe('a web page of an origin that is allowed', () => {
  const page = { origin: allowed };

  function expectReadable(answer: Pick<Answer, 'headers'>, what: string): void {
    expect(answer.headers.get('access-control-allow-origin'), what).toBe(allowed);
    expect(answer.headers.get('access-control-expose-headers'), what).toContain('x-request-id');
    expect(answer.headers.get('access-control-allow-credentials'), what).toBeNull();
    expect(answer.headers.get('vary')?.toLowerCase(), what).toContain('origin');
  }

  it('reads every answer: lists, streams, errors of every kind, and what anybody may ask', async () => {
    const { server, upstream } = await serveScripted(undefined, { ...cors, 'http.max-body': '1KiB' });
    upstream.use(answerStatus(500));
    const asked: [string, string, Json, number, Record<string, string>?][] = [
      ['GET', '/v1/models', undefined, 200],
      ['POST', '/v1/responses', { model: 'demo', input: 'x' }, 200],
      ['POST', '/v1/responses', { model: 'demo', input: 'x', stream: true }, 200],
      ['POST', '/v1/responses', { model: 'm', input: 'x' }, 502],
      ['POST', '/v1/responses', { model: 'm', input: 'x', stream: true }, 502],
      ['POST', '/v1/responses', { model: 'm', input: 'x', stream: true, previous_response_id: 'resp_1' }, 400],
      ['POST', '/v1/responses', '{', 400],
      ['POST', '/v1/responses', { model: 'm', input: 'x'.repeat(2000) }, 413],
      ['POST', '/v1/responses', 'x', 415, { 'content-type': 'text/plain' }],
      ['GET', '/v1/responses/resp_1', undefined, 404],
      ['GET', '/v1/responses/%', undefined, 400],
      ['GET', `/v1/responses/${'x'.repeat(2000)}`, undefined, 404],
      ['GET', '/v1/nothing', undefined, 404],
      ['PUT', '/v1/responses', undefined, 405],
      ['GET', '/v1/models', undefined, 401, { authorization: 'Basic x' }],
      ['GET', '/openapi.json', undefined, 200],
      ['GET', '/readyz', undefined, 200],
    ];
    for (const [method, path, body, status, headers] of asked) {
      const answer = await server.send(method, path, body, { ...page, ...headers });
      expect(answer.status, `${method} ${path}`).toBe(status);
      expectReadable(answer, `${method} ${path} ${JSON.stringify(body)?.slice(0, 100)}`);
    }
  });

  it.each(['/v1/responses', '/v1/conversations/conv_1/items/msg_1', '/v1/models/a/b', '/openapi.json', '/v1/nothing'])(
    'is told by a preflight for %s what it may send, without a key',
    async (path) => {
      for (const server of [await serve(cors), (await serveVendor({ keys: ['good'] }, cors)).server]) {
        const answer = await server.send('OPTIONS', path, undefined, {
          ...page,
          'access-control-request-method': 'DELETE',
          'access-control-request-headers': 'authorization,content-type,x-model-provider',
        });
        expect(answer.status).toBe(204);
        expect(answer.body).toBe('');
        expect(answer.headers.get('access-control-allow-origin')).toBe(allowed);
        expect(answer.headers.get('access-control-allow-methods')).toBe('GET, POST, DELETE');
        expect(answer.headers.get('access-control-allow-headers')).toBe('authorization,content-type,x-model-provider');
        expect(Number(answer.headers.get('access-control-max-age'))).toBeGreaterThan(0);
      }
    },
  );

  it('each origin of several is answered with itself', async () => {
    const server = await serve(cors);
    const answer = await server.get('/v1/models', { origin: 'http://localhost:3000' });
    expect(answer.headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
  });
});

it('whoever sends no origin gets no CORS headers, but a cache is told that origins matter', async () => {
  const server = await serve(cors);
  const answer = await server.get('/v1/models');
  expect(corsNames(answer.headers)).toEqual([]);
  expect(answer.headers.get('vary')).toBe('origin');
  expect((await (await serve()).get('/v1/models')).headers.get('vary')).toBeNull();
});

describe('the Host header on loopback', () => {
  async function askAs(server: TestServer, lines: readonly string[], version = '1.1', path = '/v1/models') {
    const socket = await RawSocket.open(server.url);
    socket.send(`GET ${path} HTTP/${version}`, [...lines, 'connection: close']);
    const answer = await socket.answer();
    await socket.closed;
    return answer;
  }

  it.each([
    'evil.example',
    'evil.example:8080',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'evil-localhost',
    'localhost@evil.example',
    'evil.example#localhost',
    '128.0.0.1',
    '0.0.0.0',
    '[::2]',
    '[::1].evil.example',
    '127.0.0.1, evil.example',
    '1270.0.1',
    '',
    ':8080',
  ])('%j is refused', async (host) => {
    const answer = await askAs(await serve(), [`host: ${host}`]);
    expect(errorOf(answer)).toBe('403 host_not_allowed');
    expect(answer.headers['x-request-id']).toMatch(/^req_/);
  });

  it.each([
    'localhost',
    'LocalHost:8080',
    '127.0.0.1',
    '127.0.0.1:1',
    '127.9.9.9',
    '[::1]',
    '[::1]:8080',
    'app.localhost:3000',
    'box.internal',
    'BOX.internal:8080',
  ])('%j is answered', async (host) => {
    const server = await serve({ 'server.allowed-hosts': 'Box.Internal' });
    expect((await askAs(server, [`host: ${host}`])).status).toBe(200);
  });

  it('none at all is refused, in the form of every error', async () => {
    const server = await serve();
    expect(errorOf(await askAs(server, []))).toBe('400 null');
    expect(errorOf(await askAs(server, [], '1.1', '/healthz'))).toBe('400 null');
    expect(errorOf(await askAs(server, [], '1.0'))).toBe('403 host_not_allowed');
  });

  it('is not taken from what a proxy says', async () => {
    const server = await serve({ 'http.trust-proxy': 'true' });
    expect((await askAs(server, ['host: evil.example', 'x-forwarded-host: localhost'])).status).toBe(403);
    expect((await askAs(server, ['host: localhost', 'x-forwarded-host: evil.example'])).status).toBe(200);
  });

  it('does not matter beyond loopback, where the server has names that it does not know', async () => {
    const server = await serveOpen({ 'auth.mode': 'none' });
    expect((await askAs(server, ['host: box.example'])).status).toBe(200);
  });

  // They show nothing that is not public, change nothing, and are asked by machines that use names of their own.
  it.each(['/healthz', '/readyz', '/openapi.json'])('does not matter for %s, nor does the origin', async (path) => {
    const server = await serve();
    expect((await askAs(server, ['host: evil.example'], '1.1', path)).status).toBe(200);
    const answer = await server.get(path, { origin: 'https://evil.example' });
    expect(answer.status).toBe(200);
    expect(corsNames(answer.headers)).toEqual([]);
    expect((await server.post(path, {}, { origin: 'https://evil.example' })).status).toBe(403);
  });
});
