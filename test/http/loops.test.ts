import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError } from '../../src/config.ts';
import { refuseOwnAddress } from '../../src/exposure.ts';
import { isLoopbackName } from '../../src/loopback.ts';
import type { Provider } from '../../src/models/providers.ts';
import { serve, start, type TestServer, textOf } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerText, type Handler, refusedUrl, startUpstream, type Upstream } from '../support/upstream.ts';

const via = 'x-open-responses-via';
const ask = { model: 'm', input: 'x' };

function viaOf(upstream: Upstream): string[][] {
  return upstream.requests.map(({ headers }) => String(headers[via]).split(','));
}

/** Something between two servers that hands calls on, as responses, with the header that tells where they have been. */
function handOn(target: () => string): Handler {
  return async (reply, request) => {
    const headers = { 'content-type': 'application/json', [via]: String(request.headers[via]) };
    if (request.method === 'GET') {
      const answer = await fetch(`${target()}/v1/models`, { headers });
      return reply.json(await answer.json(), answer.status);
    }
    const answer = await fetch(`${target()}/v1/responses`, { method: 'POST', headers, body: JSON.stringify(ask) });
    if (!answer.ok) return reply.json(await answer.json(), answer.status);
    return answerText(textOf(await answer.json()))(reply, request);
  };
}

async function between(target: () => string): Promise<Upstream> {
  const upstream = await startUpstream(handOn(target));
  onTestFinished(() => upstream.close());
  return upstream;
}

function serveOver(upstream: Upstream): Promise<TestServer> {
  return serve({ 'providers.up.base-url': upstream.url, 'default-provider': 'up', 'upstream.max-retries': '2' });
}

it('every upstream call names this server, behind those that it came from', async () => {
  const { server, upstream } = await serveScripted();
  await server.respond(ask);
  await server.stream(ask);
  await server.get('/v1/models');
  await server.respond(ask, { [via]: 'run_1, run_2' });
  const [first, ...others] = viaOf(upstream);
  expect(first).toEqual([expect.stringMatching(/^run_/)]);
  expect(others).toEqual([first, first, ['run_1', 'run_2', first?.[0]]]);
});

it('a list of models is asked for in the name of those that it came from, too', async () => {
  const { server, upstream } = await serveScripted();
  await server.get('/v1/models', { [via]: 'run_1' });
  expect(viaOf(upstream)).toEqual([['run_1', expect.stringMatching(/^run_/)]]);
});

it.each([
  'POST /v1/responses',
  'POST /v1/conversations',
  'GET /v1/models',
  'GET /v1/responses/resp_1',
  'POST /v1/chat/completions',
])('%s that has been here before is refused', async (route) => {
  const { server, upstream } = await serveScripted();
  await server.respond(ask);
  const own = viaOf(upstream)[0]?.[0] ?? '';
  const [method = '', path = ''] = route.split(' ');
  for (const passed of [own, `run_1,${own}`, `${own} , run_2`, Array(8).fill('run_1').join(), ','.repeat(5_000)]) {
    const body = method === 'POST' ? ask : undefined;
    const answer = await server.send(method, path, body, { [via]: passed });
    expect(errorOf(answer)).toBe('508 loop_detected');
    expect(answer.headers.get('x-should-retry')).toBe('false');
  }
  expect(upstream.requests).toHaveLength(1);
  expect((await server.post('/v1/responses', ask, { [via]: Array(7).fill('run_1').join() })).status).toBe(200);
});

describe.each([false, true])('stream: %s', (stream) => {
  it('a server that reaches itself ends in 508, at once', async () => {
    let server: TestServer | undefined;
    const way = await between(() => server?.url ?? '');
    server = await serveOver(way);
    expect(errorOf(await server.post('/v1/responses', { ...ask, stream }))).toMatch(/^508 /);
    expect(way.requests).toHaveLength(1);
  });

  it('two servers that call each other end in 508, which the client gets', async () => {
    let first: TestServer | undefined;
    const back = await between(() => first?.url ?? '');
    const second = await serveOver(back);
    const there = await between(() => second.url);
    first = await serveOver(there);
    expect(errorOf(await first.post('/v1/responses', { ...ask, stream }))).toMatch(/^508 /);
    expect(there.requests).toHaveLength(1);
    expect(back.requests).toHaveLength(1);
    expect(viaOf(back)[0]).toHaveLength(2);
  });
});

it('two servers that call each other list what they have themselves', async () => {
  let first: TestServer | undefined;
  const back = await between(() => first?.url ?? '');
  const second = await serveOver(back);
  const there = await between(() => second.url);
  first = await serveOver(there);
  const { body } = await first.get('/v1/models');
  expect(body.data.map((each: { id: string }) => each.id)).toEqual(['demo']);
  expect(there.requests).toHaveLength(1);
  expect(back.requests).toHaveLength(1);
});

it('a chain of two servers works', async () => {
  const { server: second, upstream } = await serveScripted(answerText('from afar'));
  const first = await serveOver(await between(() => second.url));
  expect(textOf(await first.respond(ask))).toBe('from afar');
  expect(viaOf(upstream)[0]).toHaveLength(2);
});

describe('a provider at the server’s own address', () => {
  it.each([
    '127.0.0.1',
    'localhost',
    '[::1]',
    '0.0.0.0',
    'LOCALHOST',
    '127.0.0.2',
    '[::ffff:127.0.0.1]',
    '[::ffff:0.0.0.0]',
  ])('%s is refused at the start', async (name) => {
    const { port } = new URL(await refusedUrl());
    const settings = { 'server.port': port, 'providers.up.base-url': `http://${name}:${port}/v1` };
    const started = start(settings);
    await expect(started).rejects.toThrow(ConfigError);
    await expect(started).rejects.toThrow('providers.up.base-url: http://');
    // The port is free again, or was never taken.
    await (await start({ 'server.port': port })).close();
  });

  it.each<[string, number, string, boolean]>([
    ['127.0.0.1', 8080, 'http://127.0.0.1:8080/v1', true],
    ['127.0.0.1', 8080, 'http://127.0.0.1:8081/v1', false],
    ['127.0.0.1', 8080, 'http://10.0.0.1:8080/v1', false],
    ['0.0.0.0', 8080, 'http://127.0.0.1:8080', true],
    ['0.0.0.0', 8080, 'http://10.255.255.1:8080', false],
    ['::', 8080, 'http://[::1]:8080', true],
    ['::', 8080, 'http://localhost:8080', true],
    ['::', 8080, 'http://[::ffff:127.0.0.1]:8080', true],
    ['127.0.0.1', 8080, 'http://[::ffff:7f00:1]:8080', true],
    ['127.0.0.1', 8080, 'http://[::ffff:10.0.0.1]:8080', false],
    ['10.0.0.1', 8080, 'http://[::ffff:10.0.0.1]:8080', true],
    ['::ffff:10.0.0.1', 8080, 'http://10.0.0.1:8080', true],
    ['10.0.0.1', 8080, 'http://box.example:8080', true],
    ['10.0.0.3', 8080, 'http://box.example:8080', false],
    ['127.0.0.1', 8080, 'http://local.example:8080', true],
    ['::', 8080, 'http://local.example:8080', true],
    ['127.0.0.1', 8080, 'http://local.example:8081', false],
    ['127.0.0.1', 8080, 'http://slow.example:8080', false],
    ['127.0.0.1', 8080, 'http://nowhere.example:8080', false],
    ['10.0.0.1', 8080, 'http://10.0.0.1:8080', true],
    ['10.0.0.1', 8080, 'http://127.0.0.1:8080', false],
    ['box.example', 8080, 'http://Box.Example:8080', true],
    ['127.0.0.1', 80, 'http://localhost/v1', true],
    ['127.0.0.1', 443, 'https://localhost/v1', true],
    ['127.0.0.1', 443, 'http://localhost/v1', false],
  ])('on %s port %i, %s: %j', async (host, port, baseUrl, isOwn) => {
    const providers = new Map([['up', { name: 'up', baseUrl } as unknown as Provider]]);
    const asked: string[] = [];
    const addresses: Record<string, string[]> = {
      'box.example': ['10.0.0.2', '10.0.0.1'],
      'local.example': ['::ffff:127.0.0.1'],
      localhost: ['127.0.0.1'],
    };
    const addressesOf = async (name: string) => {
      asked.push(name);
      if (name === 'slow.example') await new Promise(() => {});
      return addresses[name] ?? Promise.reject(new Error('ENOTFOUND'));
    };
    const checked = refuseOwnAddress(host, port, providers, addressesOf);
    if (isOwn) await expect(checked).rejects.toThrow(ConfigError);
    else await checked;
    // A provider at another port is no question, nor is an address.
    if (new URL(baseUrl).port === '8081' || /\d$|\]$/.test(new URL(baseUrl).hostname)) expect(asked).toEqual([]);
  });

  const hasName = lookup(hostname()).then(
    ({ address }) => isLoopbackName(address),
    () => false,
  );
  it('this machine’s own name, where it is a name of the loopback', async ({ skip }) => {
    skip(!(await hasName));
    const { port } = new URL(await refusedUrl());
    const settings = { 'server.port': port, 'providers.up.base-url': `http://${hostname()}:${port}/v1` };
    await expect(start(settings)).rejects.toThrow(ConfigError);
  });
});
